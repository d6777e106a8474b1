/** OrthoModelSet's `models` as a DOM widget. */
import { el } from "../parts/dom.mjs";
import { adoptPlace, commitEdit, markRenderer, onRemoved, say } from "./edits.mjs";
import { syncWords } from "./locale.mjs";
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
  view = createModelsView(
    {
      getValue: () => {
        syncWords(app);
        markRenderer(frame);
        return value;
      },
      commit: (next) => commitEdit(app, widget, owner(), next),
      base: () => String(base()?.value ?? ""),
      available: () => listed ?? baseChoices(base()),
      say: (text, severity) => say(app, text, severity),
      resized: () => {},
    },
    abort.signal,
  );
  frame.append(view.root);
  adoptPlace("models", node, frame);
  fetchNames(api).then((names) => {
    listed = names.length ? names : null;
    view.refresh();
  });
  onRemoved(widget, "onRemove", () => abort.abort());
  return { widget, minWidth: 320, minHeight: 120 };
}

/** Both widgets name files of the same folders: the base's choices are the models' choices. */
function baseChoices(widget) {
  const values = widget?.options?.values;
  return (typeof values === "function" ? values() : values) ?? [];
}

/** The names as the server lists them now: those the node's own check accepts, new files included. */
async function fetchNames(api) {
  try {
    const answer = await api.fetchApi("/object_info/OrthoModelSet");
    if (!answer.ok) return [];
    const [kind, extra] = (await answer.json()).OrthoModelSet?.input?.required?.base ?? [];
    return Array.isArray(kind) ? kind : (extra?.options ?? []);
  } catch {
    return []; // the base's own choices stand in
  }
}
