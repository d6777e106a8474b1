/** The page's language, as ComfyUI's settings and `/i18n` give it. */
import { useWords } from "./words.mjs";

let messages = {};
let shown = null;

const locale = (app) => app.extensionManager?.setting?.get?.("Comfy.Locale") ?? "en";

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

/** Follows a change of language; cheap enough for every redraw. */
export function syncWords(app) {
  const now = locale(app);
  if (now === shown) return;
  shown = now;
  useWords(messages, now);
}
