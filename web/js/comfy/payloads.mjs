/**
 * What the server last said for a node, and what an OrthoMixer can know from it and from upstream.
 * Kept per node in memory; the small part of it in `node.properties.orthomerge`, so that a saved
 * workflow opens with its rows.
 */
const memory = new WeakMap();
const listeners = new Set();
let clock = 0;
const SMALL_BYTES = 65536;

/** Calls `listener` after every new payload; returns the way to stop it. */
export function onPayload(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Takes over what a node's execution sent to the browser. */
export function remember(node, output) {
  const payload = output?.orthomerge?.[0];
  if (!payload || typeof payload !== "object") return;
  memory.set(node, { payload, time: (clock += 1) });
  node.properties ??= {};
  const kept = { ...node.properties.orthomerge, payload: lean(payload) };
  if (JSON.stringify(kept) !== JSON.stringify(node.properties.orthomerge)) node.properties.orthomerge = kept;
  for (const listener of listeners) listener(node);
}

/** Without the forecast's figures where they are large: these come back with the next run. */
function lean(payload) {
  if (payload.kind !== "mix") return payload;
  const { forecast, ...rest } = payload;
  return forecast && JSON.stringify(forecast).length <= SMALL_BYTES ? payload : rest;
}

/** {payload, time} of a node; `app` is asked for what it kept over a reload. */
export function recall(node, app) {
  if (memory.has(node)) return memory.get(node);
  const fromApp = app?.nodeOutputs?.[String(node.id)]?.orthomerge?.[0];
  const payload = fromApp ?? node.properties?.orthomerge?.payload;
  if (!payload) return null;
  const found = { payload, time: 0 };
  if (fromApp) memory.set(node, found);
  return found;
}

/** The node behind an input, past reroutes; null where nothing is wired or a sub-graph ends. */
export function upstream(node, inputName) {
  if (!node.graph) return null; // not placed yet, or already removed
  const slot = node.inputs?.findIndex((input) => input.name === inputName) ?? -1;
  let source = slot >= 0 ? node.getInputNode?.(slot) : null;
  for (let steps = 0; source?.isVirtualNode && steps < 32; steps += 1) source = source.getInputNode?.(0);
  return source ?? null;
}

export const isLinked = (node, inputName) =>
  (node.inputs?.find((input) => input.name === inputName)?.link ?? null) !== null;

/**
 * @returns {{proposal: object[] | null, names: string[], forecast: object | null,
 *   warnings: {text: string, enable: string[]}[]}}
 *   `proposal` null: an optimizer is wired and has not spoken yet; []: none is wired.
 */
export function mixContext(node, app) {
  const own = recall(node, app);
  const optimizer = upstream(node, "mix");
  const above = optimizer ? recall(optimizer, app) : null;
  const isMix = (item) => item?.payload?.kind === "mix";
  const found = [own, above].filter(isMix).sort((a, b) => b.time - a.time)[0]?.payload ?? null;
  const proposal = isLinked(node, "mix") ? (found?.proposal ?? null) : [];
  return {
    proposal: proposal === null || proposal.length ? proposal : isLinked(node, "mix") ? null : [],
    names: namesUpstream(node, app) ?? found?.names ?? [],
    warnings: isLinked(node, "mix") ? (found?.warnings ?? []).map(readWarning) : [],
    forecast: found?.forecast ?? null,
  };
}

/** A warning and the models that its button would switch on. */
function readWarning(warning) {
  if (typeof warning === "string") return { text: warning, enable: [] };
  const { action, models } = warning.suggestion ?? {};
  return { text: warning.text ?? "", enable: action === "enable" ? (models ?? []) : [] };
}

/** Names of the nearest node up the `models` wire that has run since. */
function namesUpstream(node, app) {
  const own = recall(node, app);
  let source = upstream(node, "models");
  for (let steps = 0; source && steps < 32; steps += 1) {
    const said = recall(source, app);
    if (said?.payload?.kind === "set" && said.time > (own?.time ?? 0)) {
      return said.payload.models.map((item) => (typeof item === "string" ? item : item.name));
    }
    source = upstream(source, "models") ?? upstream(source, "extend");
  }
  return own?.payload?.names ?? null;
}
