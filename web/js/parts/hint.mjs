/** A short remark beside a control, spoken as well: why a typed value was changed or refused. */
import { el } from "./dom.mjs";

const SHOWN_MS = 6000;
/** @type {HTMLElement | null} */
let shown = null;
let abort = new AbortController();

/**
 * @param {HTMLElement} anchor
 * @param {string} text
 */
export function hint(anchor, text) {
  closeHint();
  const box = anchor.getBoundingClientRect();
  const bubble = el("div.om.om-hint", { role: "alert" }, text);
  document.body.append(bubble);
  const left = Math.max(8, Math.min(box.left, window.innerWidth - bubble.offsetWidth - 8));
  const below = box.bottom + 4;
  const top = below + bubble.offsetHeight > window.innerHeight ? box.top - bubble.offsetHeight - 4 : below;
  bubble.style.left = `${left}px`;
  bubble.style.top = `${top}px`;
  shown = bubble;
  abort = new AbortController();
  const { signal } = abort;
  for (const type of ["pointerdown", "keydown"]) document.addEventListener(type, closeHint, { signal, capture: true });
  setTimeout(() => {
    if (shown === bubble) closeHint();
  }, SHOWN_MS);
}

export function closeHint() {
  abort.abort();
  shown?.remove();
  shown = null;
}
