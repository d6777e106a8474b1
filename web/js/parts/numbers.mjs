/**
 * Numbers as people type and read them. Pure.
 */

const TIDY = 1e6;
export const tidy = (value) => Math.round(value * TIDY) / TIDY;
export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** 1 → "1.00", 0.0005 → "0.0005": at least two decimals, as many as it has up to six. */
export function showNumber(value) {
  const decimals = plain(tidy(value)).split(".")[1]?.length ?? 0;
  return value.toFixed(clamp(decimals, 2, 6));
}

/** 0.000001 → "0.000001", never "1e-6". */
const plain = (value) => value.toFixed(6).replace(/\.?0+$/, "");

/** At most `digits` decimals, no zeros at the end. */
export const shortNumber = (value, digits = 4) => String(Math.round(value * 10 ** digits) / 10 ** digits);

/** 0.1234 → "12.3 %", with a true minus sign. */
export const percent = (share, digits = 1) => `${shortNumber(share * 100, digits).replace("-", "−")} %`;

/** A number with a decimal point or comma; NaN where it is none. */
export function readNumber(text) {
  const value = String(text).trim().replace("−", "-").replace(",", ".");
  return /^[-+]?(\d+\.?\d*|\.\d+)$/.test(value) ? Number(value) : Number.NaN;
}

/**
 * A number, or arithmetic over numbers: + − * / ( ) and a % that divides by a hundred. NaN where the
 * text is neither. "0.5+0.25" → 0.75, "50 %" → 0.5.
 */
export function evaluate(text) {
  const source = String(text).replaceAll("−", "-").replaceAll("×", "*").replaceAll(",", ".");
  const tokens = source.match(/\d+\.?\d*(e[-+]?\d+)?|\.\d+(e[-+]?\d+)?|[-+*/()%]|\S/gi) ?? [];
  const at = { tokens, next: 0 };
  const value = sum(at);
  return at.next === tokens.length && Number.isFinite(value) ? value : Number.NaN;
}

function sum(at) {
  let value = product(at);
  while (at.tokens[at.next] === "+" || at.tokens[at.next] === "-") {
    const sign = at.tokens[at.next++] === "+" ? 1 : -1;
    value += sign * product(at);
  }
  return value;
}

function product(at) {
  let value = factor(at);
  while (at.tokens[at.next] === "*" || at.tokens[at.next] === "/") {
    value = at.tokens[at.next++] === "*" ? value * factor(at) : value / factor(at);
  }
  return value;
}

function factor(at) {
  const token = at.tokens[at.next++];
  if (token === "-") return -factor(at);
  if (token === "+") return factor(at);
  let value = Number.NaN;
  if (token === "(") {
    value = sum(at);
    if (at.tokens[at.next++] !== ")") return Number.NaN;
  } else if (token !== undefined && /^[\d.]/.test(token)) value = Number(token);
  while (at.tokens[at.next] === "%") {
    at.next += 1;
    value /= 100;
  }
  return value;
}
