/** OrthoMixer's `texture_model`: a plain string, chosen from the models of the set. */
import { choiceButton } from "../parts/cells.mjs";
import { el, icon, shield } from "../parts/dom.mjs";
import { adoptPlace, commitEdit, markRenderer, onRemoved } from "./edits.mjs";
import { syncWords } from "./locale.mjs";
import { splitFolder } from "../parts/names.mjs";
import { mixContext } from "./context.mjs";
import { openPicker } from "../parts/popup.mjs";
import { t } from "../parts/words.mjs";

const HEIGHT = 28;

export function textureWidget({ app, views, node, name, data }) {
  const options = data[1] ?? {};
  const abort = new AbortController();
  const frame = el("div.om-frame.om.om-line-field", {});
  let value = options.default ?? "";
  const widget = node.addDOMWidget(name, "ORTHOMERGE_MODEL", frame, {
    getValue: () => value,
    setValue: (next) => {
      value = next === null || next === undefined ? "" : String(next);
      view.refresh();
    },
    getMinHeight: () => HEIGHT,
    getMaxHeight: () => HEIGHT,
    getHeight: () => HEIGHT,
    hideOnZoom: false,
    margin: 2,
  });
  fixHeight(widget);
  const owner = () => widget.node ?? node;
  const set = (next) => {
    commitEdit(app, widget, owner(), next);
    widget.callback?.(next);
  };
  const pick = (anchor) => {
    const { names } = mixContext(owner(), app);
    const items = [
      { name: "", label: t("none") },
      ...[...new Set([...names, value])].filter(Boolean).map((item) => ({ name: item })),
    ];
    openPicker(anchor, { label: t("texture"), items, current: value, onPick: set });
  };
  const view = {
    refresh() {
      syncWords(app);
      markRenderer(frame);
      const { names } = mixContext(owner(), app);
      const isUnknown = Boolean(value) && names.length > 0 && !names.includes(value);
      const hadFocus = frame.contains(document.activeElement);
      const shown = value ? splitFolder(value)[1] : t("none");
      frame.replaceChildren(
        el("span.om-line-label", { "aria-hidden": "true" }, widget.label ?? t("texture")),
        choiceButton({
          text: shown,
          label: `${t("texture")}: ${shown}`,
          key: "texture",
          onOpen: pick,
          help: isUnknown ? t("textureUnknown", { model: value }) : options.tooltip,
          classes: isUnknown ? "om-error" : value ? "" : "om-none",
        }),
        isUnknown ? icon("warn") : "",
      );
      if (hadFocus) frame.querySelector("button")?.focus({ preventScroll: true });
    },
  };
  shield(frame, abort.signal);
  view.refresh();
  views.add(view);
  adoptPlace("texture", node, frame);
  onRemoved(widget, "onRemove", () => {
    abort.abort();
    views.delete(view);
  });
  return { widget, minHeight: HEIGHT };
}

/** One line, however tall the node is: widgets with a layout size share a node's free space. */
function fixHeight(widget) {
  widget.computeLayoutSize = undefined;
  widget.computeSize = (width) => [width ?? 0, HEIGHT];
}
