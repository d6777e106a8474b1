/** Shows a node's last result inside the node; the widget appears with the first result. */
import { emptyFace, faceFor, failureFace, staleLine } from "../faces/faces.mjs";
import { el, shield } from "../parts/dom.mjs";
import { changedSince } from "./context.mjs";
import { strengthBar } from "../faces/strength.mjs";
import { adoptPlace, commitEdit, markRenderer, onRemoved, say } from "./edits.mjs";
import { failureOf } from "./failures.mjs";
import { inputSlot, isOff, mixerAbove } from "./graph.mjs";
import { syncWords } from "./locale.mjs";
import { t } from "../parts/words.mjs";
import { recall } from "./results.mjs";

const NAME = "orthomerge_face";
const SIZE = { least: 64, most: 360 };

/** After a run: shows the result, or why there is none, and makes room for it. */
export function attachFace(node, app) {
  if (showFace(node, app, recall(node, app)?.payload, failureOf(node))) {
    // The face has its width once the canvas was drawn, and its height one frame later.
    requestAnimationFrame(() => requestAnimationFrame(() => makeRoom(node)));
  }
}

/**
 * After a load: the result that is still known, at the size the node was saved with. Any change of size
 * here would be an edit of its own to ComfyUI's undo, and end its redo.
 */
export function restoreFace(node, app) {
  showFace(node, app, recall(node, app)?.payload);
}

/** After an edit anywhere: whether the result is still one of this graph. */
export function markFace(node, app) {
  const widget = node.widgets?.find((item) => item.name === NAME);
  if (!widget) return;
  const result = recall(node, app);
  const changed = changedSince(node, result);
  const isStale = Boolean(result) && (changed.length > 0 || isOff(node));
  const [root] = widget.element.children;
  root.querySelector(":scope > .om-ab")?.sync();
  root.classList.toggle("om-stale", isStale);
  const line = isStale ? staleLine(changed, isOff(node)) : null;
  const old = root.querySelector(":scope > .om-stale-line");
  if (old?.textContent === line?.textContent) return;
  old?.remove();
  if (line) root.prepend(line);
}

function showFace(node, app, payload, failure = "") {
  syncWords(app);
  const has = node.widgets?.some((item) => item.name === NAME);
  const take = (recipe) => takeAbove(node, app, recipe);
  const face = failure ? failureFace(failure) : (faceFor(payload, { take }) ?? (has ? emptyFace() : null));
  if (!face) return false;
  const widget = node.widgets?.find((item) => item.name === NAME) ?? addFace(node);
  markRenderer(widget.element);
  const bar = payload?.kind === "merge" && !failure ? strengthOf(node, app) : null;
  widget.element.firstChild.replaceChildren(...(bar ? [bar] : []), face);
  if (!failure) markFace(node, app);
  return true;
}

/** The bar for a node's `strength`; null where it has none, or a wire gives it. */
function strengthOf(node, app) {
  const widget = node.widgets?.find((item) => item.name === "strength");
  const link = node.inputs?.[inputSlot(node, "strength")]?.link;
  if (!widget || (link !== null && link !== undefined)) return null;
  return strengthBar({
    value: () => Number(widget.value),
    onChange: (next) => {
      commitEdit(app, widget, node, next);
      widget.callback?.(next);
      markFace(node, app);
    },
  });
}

/** A cell's recipe into the table of the mixer that the grid was made of. */
function takeAbove(node, app, recipe) {
  const mixer = mixerAbove(node);
  const table = mixer?.widgets?.find((item) => item.type === "ORTHOMERGE_TABLE");
  if (table?.takeRecipe) table.takeRecipe(recipe);
  else say(app, t("noMixerAbove"), "warn");
}

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
  const content = root.lastElementChild;
  const list = content?.querySelector(".om-small-table") ?? null;
  const bar = root.querySelector(":scope > .om-ab")?.offsetHeight ?? 0;
  const parts = [...(content?.children ?? [])].filter((child) => !child.contains(list));
  const wanted =
    bar + parts.reduce((sum, child) => sum + child.offsetHeight, list ? 16 : 24) + (list?.offsetHeight ?? 0);
  return Math.min(SIZE.most, Math.max(SIZE.least, wanted));
};
