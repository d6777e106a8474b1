/** OrthoModelSet's `models` as a DOM widget. */
import { el } from "../parts/dom.mjs";
import { adoptPlace, commitEdit, markRenderer, onRemoved, say } from "./edits.mjs";
import { syncWords } from "./locale.mjs";
import { onResult, recall } from "./results.mjs";
import { fetchFiles, forgetMembers, membersOf, onMembers } from "./server_lists.mjs";
import { createModelsView } from "../faces/models_view.mjs";

export function modelsWidget({ app, api, node, name, data }) {
  const options = data[1] ?? {};
  const abort = new AbortController();
  const frame = el("div.om-frame", {});
  let value = options.default ?? "";
  let view = null;
  let listed = null;
  const widget = node.addDOMWidget(name, "ORTHOMERGE_MODELS", frame, {
    getValue: () => value,
    setValue: (next) => {
      value = next === null || next === undefined ? "" : String(next);
      view?.refresh();
    },
    getMinHeight: () => 120,
    hideOnZoom: false,
    margin: 6,
    socketless: true,
  });
  const owner = () => widget.node ?? node;
  const base = () => owner().widgets?.find((item) => item.name === "base");
  const baseName = () => String(base()?.value ?? "");
  const look = async () => {
    listed = await fetchFiles(api);
    view.refresh();
  };
  view = createModelsView(
    {
      getValue: () => {
        syncWords(app);
        markRenderer(frame);
        return value;
      },
      commit: (next) => commitEdit(app, widget, owner(), next),
      base: baseName,
      available: () => listed ?? baseChoices(base()).map((file) => ({ name: file })),
      members: () => membersOf(api, baseName(), value),
      lastRun: () => lastRun(owner(), app, baseName()),
      refresh: async () => {
        forgetMembers();
        await app.refreshComboInNodes?.(); // the base's choices and every loader's, as the key R does
        await look();
      },
      say: (text, severity) => say(app, text, severity),
      resized: () => {},
    },
    abort.signal,
  );
  frame.append(view.root);
  adoptPlace("models", node, frame);
  look();
  const stops = [onMembers(() => view.refresh()), onResult((from) => from === owner() && view.refresh())];
  onRemoved(widget, "onRemove", () => {
    abort.abort();
    for (const stop of stops) stop();
  });
  return { widget, minWidth: 320, minHeight: 120 };
}

/** Both widgets name files of the same folders: the base's choices are the models' choices. */
function baseChoices(widget) {
  const values = widget?.options?.values;
  return (typeof values === "function" ? values() : values) ?? [];
}

/** What the last run took and left out, if it was a run with this base. */
function lastRun(node, app, base) {
  const payload = recall(node, app)?.payload;
  return payload?.kind === "set" && payload.base === base ? payload : null;
}
