/**
 * An edit as one undo step of ComfyUI, in both renderers, and its own undo and redo commands.
 *
 * The change tracker compares the graph before and after when it hears the pair of canvas events. Its
 * Ctrl+Z handler stays silent while an input has the focus, so the table asks for the command itself.
 */

/** Sets a widget's value as one undo step. */
export function commitEdit(app, widget, node, value) {
  app.canvas?.emitBeforeChange?.();
  try {
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

/** A short message; stays a few seconds. */
export function say(app, text, severity = "success") {
  app.extensionManager?.toast?.add?.({ severity, summary: "OrthoMerge", detail: text, life: severity === "error" ? 8000 : 2500 });
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

const frames = new Map();
const FRAMES_TO_WAIT = 4;

/**
 * Puts a new widget's element where the old one of the same node still hangs. Vue nodes mount an
 * element once and keep it when undo, a reload or a change of tab makes the node anew: the page would
 * show a dead table. Harmless where ComfyUI has mounted the new element by itself.
 */
export function adoptPlace(kind, node, frame) {
  let left = FRAMES_TO_WAIT;
  const look = () => {
    const key = `${kind}:${node.id}`;
    const old = frames.get(key);
    if (old && old !== frame && old.isConnected && !frame.isConnected) old.replaceWith(frame);
    if (frame.isConnected || left === 0) {
      frames.set(key, frame);
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
