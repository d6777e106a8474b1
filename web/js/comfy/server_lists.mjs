/** What the server says before any run: the files in the model folders, and who is in a set. */

/** @typedef {{name: string, bytes: number, modified: number}} ModelFile `modified` in seconds */
/** @typedef {import("../faces/models_view.mjs").Members} Members */

/** @type {Map<string, Members | null>} by base and models as a node has them; null while asked */
const answers = new Map();
const listeners = new Set();
const MOST = 200;

/** Calls `listener` after every new answer; returns the way to stop it. */
export function onMembers(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * The model files as the server lists them now; null where it does not answer.
 * @returns {Promise<ModelFile[] | null>}
 */
export async function fetchFiles(api) {
  try {
    const answer = await api.fetchApi("/orthomerge/models", { cache: "no-store" });
    return answer.ok ? (await answer.json()).files : null;
  } catch {
    return null; // the base's own choices stand in
  }
}

/**
 * The members of a set with these two values; null until the server has answered, when the listeners
 * are called.
 * @returns {Members | null}
 */
export function membersOf(api, base, models) {
  const key = JSON.stringify([base, models]);
  if (answers.has(key)) return answers.get(key) ?? null;
  if (answers.size >= MOST) answers.clear();
  answers.set(key, null);
  ask(api, base, models).then((found) => {
    answers.set(key, found);
    if (found) for (const listener of listeners) listener();
  });
  return null;
}

/** Ask again from now on: files came or went. */
export function forgetMembers() {
  answers.clear();
}

async function ask(api, base, models) {
  try {
    const body = JSON.stringify({ base, models });
    const headers = { "Content-Type": "application/json" };
    const answer = await api.fetchApi("/orthomerge/set", { method: "POST", headers, body });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}
