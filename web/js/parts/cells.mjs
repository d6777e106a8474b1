/** The cells of a row: numbers that can be typed, stepped and dragged, choices, and bars. */
import { el, icon } from "./dom.mjs";
import { closeHint, hint } from "./hint.mjs";
import { clamp, evaluate, showNumber, tidy } from "./numbers.mjs";
import { t } from "./words.mjs";

/**
 * Slider (0–2) and number (−5…5) over one value.
 * `onPreview` while dragging, `onCommit` when the person is done.
 * @param {{value: number, label: string, keys: {slider: string, input: string}, help?: string,
 *   onPreview: (value: number) => void, onCommit: (value: number) => void}} cell
 */
export function alphaCell({ value, label, keys, help, onPreview, onCommit }) {
  const slider = el("input.om-slider", {
    type: "range",
    min: "0",
    max: "2",
    step: "0.05",
    "aria-label": `${label}: ${t("alpha")}`,
    title: help,
    data: { key: keys.slider },
  });
  const input = numberInput({
    value,
    low: -5,
    high: 5,
    step: 0.05,
    label: `${label}: ${t("alpha")}`,
    key: keys.input,
    help,
    show: showNumber,
    onPreview: (v) => {
      paint(v);
      onPreview(v);
    },
    onCommit,
  });
  const paint = (v) => {
    slider.value = String(clamp(v, 0, 2));
    slider.style.setProperty("--om-fill", `${clamp(v, 0, 2) * 50}%`);
    slider.classList.toggle("om-beyond", v < 0 || v > 2);
  };
  paint(value);
  slider.addEventListener("input", () => {
    const v = Number(slider.value);
    slider.style.setProperty("--om-fill", `${v * 50}%`);
    input.value = showNumber(v);
    onPreview(v);
  });
  slider.addEventListener("change", () => onCommit(Number(slider.value)));
  return el("div.om-alpha", {}, slider, input);
}

/**
 * A typed number: arrows step, Enter commits, Escape takes back, dragging sideways scrubs. Arithmetic is
 * worked out; what is out of range is clamped and what is not a number refused, both with a remark.
 * @param {{value: number, low: number, high: number, step: number, label: string, key: string, help?: string,
 *   show?: (value: number) => string, integer?: boolean, onPreview?: (value: number) => void,
 *   onCommit: (value: number) => void}} field
 */
export function numberInput(field) {
  const { value, low, high, step, label, key, help, show = String, integer = false, onPreview, onCommit } = field;
  const input = el("input.om-input.om-number", {
    type: "text",
    inputMode: "decimal",
    value: show(value),
    autocomplete: "off",
    role: "spinbutton",
    title: help,
    "aria-label": label,
    "aria-valuemin": low,
    "aria-valuemax": high,
    "aria-valuenow": value,
    data: { key },
  });
  let current = value;
  const settle = (v) => tidy(clamp(integer ? Math.round(v) : v, low, high));
  const preview = (v) => {
    current = settle(v);
    input.value = show(current);
    input.setAttribute("aria-valuenow", String(current));
    input.removeAttribute("aria-invalid");
    onPreview?.(current);
  };
  const commit = () => {
    if (input.value === show(current)) {
      if (current !== value) onCommit(current);
      return true;
    }
    const typed = evaluate(input.value);
    if (Number.isNaN(typed)) {
      input.setAttribute("aria-invalid", "true");
      hint(input, t("notANumber", { text: input.value.slice(0, 40), value: show(current) }));
      return false;
    }
    const settled = settle(typed);
    if (settled !== tidy(typed)) {
      const range = `${low} … ${high}`.replaceAll("-", "−");
      hint(input, t("clamped", { typed: show(tidy(typed)), range, value: show(settled) }));
    }
    current = settled;
    input.value = show(current);
    input.removeAttribute("aria-invalid");
    if (current !== value) onCommit(current);
    return true;
  };
  input.addEventListener("change", commit);
  input.addEventListener("input", closeHint);
  input.addEventListener("focus", () => input.select());
  input.addEventListener("blur", () => {
    if (input.getAttribute("aria-invalid")) preview(value);
    else if (current !== value) onCommit(current);
  });
  input.addEventListener("keydown", (event) => {
    const factor = event.shiftKey ? 10 : 1;
    const moves = { ArrowUp: step, ArrowDown: -step };
    if (event.key in moves) {
      if (event.altKey) return; // Alt+arrow moves the row
      event.preventDefault();
      preview(current + moves[event.key] * factor);
    } else if (event.key === "Escape" && (current !== value || input.value !== show(value))) {
      event.stopPropagation();
      preview(value);
    } else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      if (commit()) input.dispatchEvent(new CustomEvent("om-next", { bubbles: true, detail: event.shiftKey ? -1 : 1 }));
    }
  });
  scrubbing(input, { current: () => current, step, preview, commit });
  return input;
}

function scrubbing(input, { current, step, preview, commit }) {
  input.addEventListener("pointerdown", (down) => {
    if (down.button !== 0 || document.activeElement === input) return;
    const start = current();
    let moved = false;
    const onMove = (event) => {
      const distance = event.clientX - down.clientX;
      if (!moved && Math.abs(distance) < 4) return;
      if (!moved) {
        moved = true;
        input.setPointerCapture(down.pointerId);
        input.blur();
      }
      preview(start + Math.round(distance / 4) * step * (event.shiftKey ? 0.2 : 1));
    };
    const onUp = () => {
      input.removeEventListener("pointermove", onMove);
      input.removeEventListener("pointerup", onUp);
      input.removeEventListener("pointercancel", onUp);
      if (moved) commit();
    };
    input.addEventListener("pointermove", onMove);
    input.addEventListener("pointerup", onUp);
    input.addEventListener("pointercancel", onUp);
  });
}

/**
 * A button that shows a choice and opens a list.
 * @param {{text: string, label: string, key: string, help?: string, onOpen: (button: HTMLElement) => void, classes?: string}} cell
 */
export function choiceButton({ text, label, key, help, onOpen, classes = "" }) {
  const button = el(
    "button.om-choice",
    {
      type: "button",
      class: classes,
      title: help ?? text,
      "aria-haspopup": "listbox",
      "aria-label": label,
      data: { key },
    },
    el("span.om-choice-text", {}, text),
    icon("down"),
  );
  button.addEventListener("click", () => onOpen(button));
  return button;
}

/**
 * A share as a number over a thin bar. `share` null: nothing known.
 * @param {{share: number | null | undefined, text: string, label: string, help?: string, tone?: string, estimate?: boolean}} cell
 */
export function barCell({ share, text, label, help, tone = "", estimate = false }) {
  if (share === null || share === undefined || !Number.isFinite(share)) {
    return el("div.om-figure.om-unknown", { title: help, role: "img", "aria-label": `${label}: –` }, "–");
  }
  const width = `${clamp(Math.abs(share), 0, 1) * 100}%`;
  return el(
    "div.om-figure",
    {
      class: `${tone} ${share < 0 ? "om-negative" : ""}`,
      title: help,
      role: "img",
      "aria-label": `${label}: ${estimate ? "≈ " : ""}${text}`,
    },
    el("span.om-figure-text", {}, `${estimate ? "≈" : ""}${text}`),
    el("span.om-track", {}, el("span.om-fill", { style: { width } })),
  );
}
