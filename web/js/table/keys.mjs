/** Keys that work anywhere in the table: move, duplicate, remove, next row, undo. */

import { focusKey } from "../parts/dom.mjs";

const TYPES_TEXT = (node) => node.tagName === "TEXTAREA" || (node.tagName === "INPUT" && node.type === "text");

export function tableKeys(view, signal) {
  const { root } = view;
  root.addEventListener(
    "keydown",
    (event) => {
      const target = /** @type {HTMLElement} */ (event.target);
      if (historyKey(view, event, target)) return;
      const row = /** @type {HTMLElement | null} */ (target.closest?.("tr.om-row"));
      if (!row) return;
      const index = Number(row.dataset.index);
      const part = target.dataset.key?.split(":")[1] ?? "menu";
      const steps = { ArrowUp: -1, ArrowDown: 1 };
      if (event.altKey && event.key in steps) {
        event.preventDefault();
        commitField(target);
        const next = view.shown[view.shown.indexOf(index) + steps[event.key]];
        if (next !== undefined) view.act.move(index, next, part);
      } else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "d") {
        event.preventDefault();
        view.act.duplicate(index);
      } else if (event.key === "Delete" && !TYPES_TEXT(target)) {
        event.preventDefault();
        view.act.remove(index);
      }
    },
    { signal },
  );
  root.addEventListener(
    "om-next",
    (event) => {
      const field = /** @type {HTMLElement} */ (event.target);
      const [index, part] = field.dataset.key?.split(":") ?? [];
      const next = view.shown[view.shown.indexOf(Number(index)) + /** @type {CustomEvent} */ (event).detail];
      if (next === undefined) return;
      view.body.reveal(next);
      focusKey(root, `${next}:${part}`);
    },
    { signal },
  );
}

/** Text being typed is settled before its row moves. */
function commitField(target) {
  if (TYPES_TEXT(target)) target.dispatchEvent(new Event("change", { bubbles: true }));
}

/**
 * ComfyUI's own undo ignores keys while a field has the focus, so it is asked for here; text that is still
 * being typed keeps the browser's undo. From a button ComfyUI undoes by itself: only the focus is noted,
 * since the node is made anew.
 */
function historyKey(view, event, target) {
  if (!(event.ctrlKey || event.metaKey) || event.altKey) return false;
  const key = event.key.toLowerCase();
  if (key !== "z" && key !== "y") return false;
  if (TYPES_TEXT(target) && target.value !== target.defaultValue) return true;
  const isField = target.tagName === "INPUT" || target.tagName === "TEXTAREA";
  if (isField) event.preventDefault();
  view.host.history(isField ? (key === "y" || event.shiftKey ? "redo" : "undo") : null);
  return true;
}
