/** Copy and paste of rows, with a text field where the browser forbids reading the clipboard. */
import { el } from "../parts/dom.mjs";
import { closePopup, openPopup } from "../parts/popup.mjs";
import { fromText } from "./text.mjs";
import { t } from "../parts/words.mjs";

/** Puts text on the clipboard; false where the page may not (no secure context). */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByField(text);
  }
}

function copyByField(text) {
  const field = el("textarea", { value: text, class: "om-offscreen", "aria-hidden": "true" });
  document.body.append(field);
  const before = document.activeElement;
  field.select();
  const done = document.execCommand("copy"); // the only way in a page served without TLS
  field.remove();
  /** @type {HTMLElement | null} */ (before)?.focus?.({ preventScroll: true });
  return done;
}

/** Asks for text and hands the rows over; says which cells were not understood before it applies. */
export function openPaste(anchor, onRows) {
  const field = el("textarea.om-input.om-paste", {
    rows: 8,
    placeholder: t("pasteHere"),
    "aria-label": t("pasteHere"),
    spellcheck: false,
  });
  const report = el("ul.om-report", { role: "status", "aria-live": "polite" });
  const apply = el("button.om-button.om-primary", { type: "button", disabled: true }, t("apply"));
  /** @type {ReturnType<typeof fromText>} */
  let found = { rows: [], problems: [] };
  field.addEventListener("input", () => {
    found = fromText(field.value);
    apply.disabled = !found.rows.length;
    report.replaceChildren(...found.problems.slice(0, 5).map((p) => el("li", {}, t(p.reason ?? "pasteBad", p))));
  });
  apply.addEventListener("click", () => {
    closePopup();
    onRows(found.rows, found.options);
  });
  openPopup(
    anchor,
    el(
      "div.om-paste-box",
      {},
      field,
      report,
      el(
        "div.om-buttons",
        {},
        el("button.om-button", { type: "button", on: { click: closePopup } }, t("cancel")),
        apply,
      ),
    ),
    { label: t("paste"), width: 380 },
  );
  field.focus();
}
