/** The page's language, as ComfyUI's settings and `/i18n` give it. */
import { useWords } from "../parts/words.mjs";

let messages = {};
let shown = null;

export const LANGUAGE_SETTING = {
  id: "OrthoMerge.Language",
  category: ["OrthoMerge", "General", "Language"],
  name: "Language of OrthoMerge's own controls",
  tooltip: "auto follows ComfyUI. ComfyUI itself may not offer every language that OrthoMerge has.",
  type: "combo",
  options: [
    { text: "auto", value: "auto" },
    { text: "English", value: "en" },
    { text: "Deutsch", value: "de" },
    { text: "中文", value: "zh" },
  ],
  defaultValue: "auto",
};

function locale(app) {
  const read = (id) => app.extensionManager?.setting?.get?.(id);
  const own = read(LANGUAGE_SETTING.id) ?? "auto";
  return own === "auto" ? (read("Comfy.Locale") ?? "en") : own;
}

/** Fetches the pack's translations; English stays where that fails. */
export async function loadWords(app, api) {
  try {
    const answer = await api.fetchApi("/i18n");
    if (answer.ok) messages = await answer.json();
  } catch (error) {
    console.info("OrthoMerge: translations are not available", error);
  }
  syncWords(app);
}

/** Our nodes' words in the page's language, by node id; empty for English. */
export function definitionsOf(app) {
  const now = locale(app);
  const own = messages[now] ?? messages[String(now).split("-")[0]];
  return String(now).startsWith("en") ? {} : (own?.nodeDefs ?? {});
}

/** Follows a change of language; cheap enough for every redraw. */
export function syncWords(app) {
  const now = locale(app);
  if (now === shown) return;
  shown = now;
  useWords(messages, now);
}
