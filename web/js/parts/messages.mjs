/**
 * Messages from Python, which travel as {code, values, text}: worded in the page's language, or as the
 * text that came along. Templates use the formats of `orthomerge_core/messages.py`. Pure.
 */
import { templateOf } from "./words.mjs";

const SHOWN_NAMES = 5;

/** @param {unknown} message a string, or {code, values, text} */
export function worded(message) {
  if (typeof message === "string") return message;
  const { code, values, text } = /** @type {any} */ (message) ?? {};
  const template = templateOf(code);
  return (template && fill(template, values ?? {})) ?? String(text ?? "");
}

/** The template with its values; null where one is missing. */
function fill(template, values) {
  let isComplete = true;
  const text = template.replace(/\{(\w+)(?::([^{}]*))?\}/g, (_whole, name, format = "") => {
    if (!(name in values)) isComplete = false;
    return formatted(values[name], format);
  });
  return isComplete ? text : null;
}

function formatted(value, format) {
  if (format.includes("|")) {
    const [one, many] = format.split("|");
    return (value === 1 ? one : many).replace("#", String(value));
  }
  if (format === "names") return listed(value ?? []);
  const [, comma, digits, kind] = /^(,)?(?:\.(\d+))?([f%gd])?$/.exec(format) ?? [];
  if (typeof value !== "number" || !(comma || digits || kind)) return String(value);
  if (kind === "g") return String(Number(value.toPrecision(Number(digits ?? 6))));
  const shown = kind === "%" ? value * 100 : value;
  const decimals = digits === undefined ? (kind === "f" || kind === "%" ? 6 : undefined) : Number(digits);
  const text = decimals === undefined ? String(shown) : shown.toFixed(decimals);
  return (comma ? text.replace(/\B(?=(\d{3})+(?!\d))/g, ",") : text) + (kind === "%" ? " %" : "");
}

function listed(names) {
  const more = names.length - SHOWN_NAMES;
  return names.slice(0, SHOWN_NAMES).join(", ") + (more > 0 ? ` +${more}` : "");
}
