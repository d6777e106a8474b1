/** The words of our own controls: English in the code, other languages from `locales/<lang>/main.json`. */
import { ENGLISH } from "./english.mjs";

export { ENGLISH };

let current = {};
let templates = {};

/** The wording of a message's code in this language; undefined where there is none. */
export const templateOf = (code) => templates[code];

/** `t("copied", {count: 3})`; a missing translation falls back to English. */
export function t(key, values = {}) {
  const text = current[key] ?? ENGLISH[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** Take over the words of `locale` from what the server's `/i18n` gave. */
export function useWords(messages, locale) {
  const own = messages?.[locale] ?? messages?.[String(locale).split("-")[0]];
  current = own?.orthomerge ?? {};
  templates = own?.orthomergeMessages ?? {};
}
