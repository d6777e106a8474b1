/**
 * An edit as one undo step of ComfyUI, in both renderers, and its own undo and redo commands.
 *
 * The change tracker compares the graph before and after when it hears the pair of canvas events. Its
 * Ctrl+Z handler stays silent while an input has the focus, so the table asks for the command itself.
 */

/** Sets a widget's value as one undo step, with whatever `also` changes. */
export function commitEdit(app, widget, node, value, also = () => {}) {
  app.canvas?.emitBeforeChange?.();
  try {
    also();
    widget.value = value;
    node.graph?.change?.();
    node.setDirtyCanvas?.(true, true);
  } finally {
    app.canvas?.emitAfterChange?.();
  }
}

/** @param {"undo" | "redo"} step */
export function runHistory(app, step) {
  app.extensionManager?.command?.execute?.(step === "undo" ? "Comfy.Undo" : "Comfy.Redo");
}

/** A short message; stays as long as it takes to read. */
export function say(app, text, severity = "success", summary = "OrthoMerge") {
  app.extensionManager?.toast?.add?.({ severity, summary, detail: text, life: severity === "error" ? 12000 : 2500 });
}

/** Chains a clean-up to a node's or widget's own. */
export function onRemoved(owner, name, cleanUp) {
  const before = owner[name];
  owner[name] = function removed() {
    cleanUp();
    return before?.apply(this, arguments);
  };
}

/** A function that runs once per frame at most. */
export function oncePerFrame(action) {
  let waiting = 0;
  return () => {
    waiting ||= requestAnimationFrame(() => {
      waiting = 0;
      action();
    });
  };
}

const places = new Map();
const FRAMES_TO_WAIT = 4;
const isAlive = (node) => Boolean(node.graph) && node.graph.getNodeById?.(node.id) === node;

/**
 * Puts a new widget's element where the old one of the same node still hangs. Vue nodes mount an
 * element once and keep it when undo, a reload or a change of tab makes the node anew: the page would
 * show a dead table. Harmless where ComfyUI has mounted the new element by itself; a node that never
 * came into a graph, as a sub-graph's making leaves behind, takes no place from one that did.
 */
export function adoptPlace(kind, node, frame) {
  let left = FRAMES_TO_WAIT;
  const look = () => {
    const key = `${kind}:${node.id}`;
    const old = places.get(key);
    const isFree = old && old.frame !== frame && old.frame.isConnected && !isAlive(old.node);
    if (isFree && !frame.isConnected && isAlive(node)) old.frame.replaceWith(frame);
    if (frame.isConnected || left === 0) {
      if (frame.isConnected || isAlive(node)) places.set(key, { frame, node });
      return;
    }
    left -= 1;
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}

/** Marks a widget's frame for the renderer it is shown in. */
export function markRenderer(frame) {
  frame.classList.toggle("om-vue", globalThis.LiteGraph?.vueNodesMode === true);
}

/** Brings a node into view, in whichever graph it lies. */
export function lookAt(app, node) {
  const { canvas } = app;
  if (!canvas || !node.graph) return;
  if (canvas.graph !== node.graph) canvas.setGraph?.(node.graph);
  canvas.centerOnNode?.(node);
  if (canvas.ds && canvas.ds.scale < 0.8) {
    canvas.ds.scale = 1;
    canvas.centerOnNode?.(node);
  }
  canvas.setDirty?.(true, true);
}
