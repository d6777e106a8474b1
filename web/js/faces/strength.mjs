/** Base, merge, or a strength between and beyond them: one number, at the face of the merge. */
import { numberInput } from "../parts/cells.mjs";
import { el } from "../parts/dom.mjs";
import { showNumber } from "../parts/numbers.mjs";
import { t } from "../parts/words.mjs";

const LIMIT = 5;

/**
 * @param {{value: () => number, onChange: (value: number) => void}} host
 * @returns {HTMLElement & {sync?: () => void}}
 */
export function strengthBar({ value, onChange }) {
  /** @type {HTMLElement & {sync?: () => void}} */
  const root = el("div.om-ab", { role: "group", "aria-label": t("strengthLabel"), title: t("strengthHelp") });
  let shown = Number.NaN;
  const choose = (label, goal) =>
    el(
      "button.om-button",
      { type: "button", "aria-pressed": String(value() === goal), on: { click: () => onChange(goal) } },
      label,
    );
  const draw = () => {
    shown = value();
    const hadFocus = [...root.children].indexOf(/** @type {any} */ (document.activeElement));
    root.replaceChildren(
      choose(t("strengthBase"), 0),
      choose(t("strengthMerge"), 1),
      numberInput({
        value: shown,
        low: -LIMIT,
        high: LIMIT,
        step: 0.05,
        label: t("strengthLabel"),
        key: "strength",
        help: t("strengthHelp"),
        show: showNumber,
        onCommit: onChange,
      }),
    );
    if (hadFocus >= 0) /** @type {HTMLElement} */ (root.children[hadFocus]).focus({ preventScroll: true });
  };
  root.sync = () => {
    if (value() !== shown) draw();
  };
  draw();
  return root;
}
