/** Small results in the browser's local storage: versioned, few, and never an error to anybody. */

const PREFIX = "orthomerge.result.";
const VERSION = 1;
const MOST = 48;
const MOST_CHARS = 160_000;

const store = () => {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null; // forbidden by the browser's settings
  }
};

/** @param {string} place */
export function writeStored(place, result) {
  const local = store();
  if (!local) return;
  const text = JSON.stringify({ version: VERSION, at: Date.now(), ...result });
  if (text.length > MOST_CHARS) {
    dropStored(place);
    return;
  }
  try {
    local.setItem(PREFIX + place, text);
    prune(local);
  } catch {
    dropAll(local); // full: ComfyUI's own drafts come first
  }
}

/** A stored result of a node of this kind, or null. */
export function readStored(place, kind) {
  try {
    const found = JSON.parse(store()?.getItem(PREFIX + place) ?? "null");
    if (found?.version !== VERSION || found.kind !== kind || typeof found.payload !== "object") return null;
    return { payload: found.payload, time: 0, trace: found.trace ?? null };
  } catch {
    return null;
  }
}

export const dropStored = (place) => store()?.removeItem(PREFIX + place);

const ours = (local) =>
  Array.from({ length: local.length }, (_, i) => local.key(i) ?? "").filter((key) => key.startsWith(PREFIX));

function prune(local) {
  const keys = ours(local);
  if (keys.length <= MOST) return;
  const age = (key) => Number(/"at":(\d+)/.exec(local.getItem(key) ?? "")?.[1] ?? 0);
  const dated = keys.map((key) => ({ key, at: age(key) })).sort((a, b) => a.at - b.at);
  for (const { key } of dated.slice(0, keys.length - MOST)) local.removeItem(key);
}

function dropAll(local) {
  for (const key of ours(local)) local.removeItem(key);
}

const OPEN_KEY = "orthomerge.open";
const MOST_OPEN = 64;

/** What was open in a node's widget when the page was last seen. */
export function readOpen(place) {
  try {
    return JSON.parse(store()?.getItem(OPEN_KEY) ?? "{}")[place ?? ""] ?? {};
  } catch {
    return {};
  }
}

export function writeOpen(place, value) {
  const local = store();
  if (!local || !place) return;
  try {
    const { [place]: _, ...rest } = JSON.parse(local.getItem(OPEN_KEY) ?? "{}");
    const kept = Object.entries(rest).slice(1 - MOST_OPEN);
    local.setItem(OPEN_KEY, JSON.stringify({ ...Object.fromEntries(kept), [place]: value }));
  } catch {
    local.removeItem(OPEN_KEY); // full, or edited by hand
  }
}
