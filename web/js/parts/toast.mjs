/** A message above the page with a way to where it belongs; ComfyUI's own toasts have no buttons. */
import { el, icon, iconButton } from "./dom.mjs";
import { t } from "./words.mjs";

const SHOWN_MS = 20_000;
/** @type {HTMLElement | null} */
let shown = null;

/**
 * @param {{title: string, text: string, label: string, onClick: () => void}} offer
 */
export function offer({ title, text, label, onClick }) {
  shown?.remove();
  const close = () => {
    box.remove();
    if (shown === box) shown = null;
  };
  const act = () => {
    close();
    onClick();
  };
  const box = el(
    "div.om.om-toast",
    { role: "alert" },
    icon("warn"),
    el("div.om-toast-text", {}, el("strong", {}, title), el("p", {}, text)),
    el("button.om-button.om-primary", { type: "button", on: { click: act } }, label),
    iconButton("cross", t("close"), close),
  );
  document.body.append(box);
  shown = box;
  setTimeout(() => shown === box && close(), SHOWN_MS);
}
