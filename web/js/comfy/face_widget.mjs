/** Shows a node's last result inside the node; the widget appears with the first result. */
import { el, shield } from "../parts/dom.mjs";
import { adoptPlace, markRenderer, onRemoved } from "./edits.mjs";
import { failureOf } from "./failures.mjs";
import { faceFor, failureFace } from "../faces/faces.mjs";
import { syncWords } from "./locale.mjs";
import { recall } from "./payloads.mjs";
import { t } from "../parts/words.mjs";

const NAME = "orthomerge_face";

/** After a run: shows the result, or why there is none, and makes room for it. */
export function attachFace(node, app) {
  if (showFace(node, app, recall(node, app)?.payload, failureOf(node))) {
    requestAnimationFrame(() => makeRoom(node)); // the face has its height only once it is drawn
  }
}

/**
 * After a load: only what was saved with the node, at the size it was saved with. Any change of size
 * here would be an edit of its own to ComfyUI's undo, and end its redo.
 */
export function restoreFace(node, app) {
  showFace(node, app, node.properties?.orthomerge?.payload);
}

function showFace(node, app, payload, failure = "") {
  syncWords(app);
  const face = failure ? failureFace(failure) : (faceFor(payload) ?? emptyFace(node));
  if (!face) return false;
  const widget = node.widgets?.find((item) => item.name === NAME) ?? addFace(node);
  markRenderer(widget.element);
  widget.element.firstChild.replaceChildren(face);
  return true;
}

/** In place of a failure that is over. */
const emptyFace = (node) =>
  node.widgets?.some((item) => item.name === NAME) ? el("div.om-face-text.om-note", {}, t("notRun")) : null;

function makeRoom(node) {
  if (!node.graph) return;
  const [width, height] = node.computeSize();
  if (node.size[0] < width || node.size[1] < height) {
    node.setSize([Math.max(width, node.size[0]), Math.max(height, node.size[1])]);
  }
}

/** Never serialised, and after every widget that is: a gap before those would shift their values. */
function addFace(node) {
  const abort = new AbortController();
  const frame = el("div.om-frame", {}, el("div.om.om-face", {}));
  shield(frame, abort.signal);
  const widget = node.addDOMWidget(NAME, "ORTHOMERGE_FACE", frame, {
    serialize: false,
    getValue: () => "",
    setValue: () => {},
    hideOnZoom: false,
    margin: 6,
    getMinHeight: () => faceHeight(frame.firstChild),
  });
  widget.serialize = false;
  adoptPlace("face", node, frame);
  onRemoved(widget, "onRemove", () => abort.abort());
  return widget;
}

const faceHeight = (root) => {
  const content = root.firstElementChild;
  const list = content?.querySelector(".om-small-table") ?? null;
  const wanted =
    (list?.offsetHeight ?? 0) +
    [...(content?.children ?? [])]
      .filter((child) => !child.contains(list))
      .reduce((sum, child) => sum + child.offsetHeight, list ? 16 : 24);
  return Math.min(360, Math.max(64, wanted));
};
