/**
 * The last result of every node, with the trace of the graph it came from.
 *
 * Results do not belong into a workflow: they would be copied, saved and undone with it. They live in
 * memory, and small ones in the browser's local storage under the graph's id, so that a reload, another
 * tab and undo find them. Only a copied mixer takes its rows along, as ASCII.
 *
 * @typedef {import("./types").ComfyNode} ComfyNode
 * @typedef {{payload: any, time: number, trace: import("./trace.mjs").Trace | null, kind?: string}} Result
 */
import { ascii } from "../parts/ascii.mjs";
import { hasTable } from "./pack_nodes.mjs";
import { trace } from "./trace.mjs";
import { dropStored, readStored, writeStored } from "./storage.mjs";

const CARRIED_VERSION = 2;
const MOST_IN_PAGE = 128;

/** @type {WeakMap<ComfyNode, Result>} */
const memory = new WeakMap();
/** @type {Map<string, Result>} by place, for nodes that undo or a change of tab makes anew */
const places = new Map();
/** @type {WeakMap<ComfyNode, import("./trace.mjs").Trace>} */
let asked = new WeakMap();
const listeners = new Set();
let clock = 0;

/** Calls `listener` after every new result; returns the way to stop it. */
export function onResult(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * A face is about all that its node was given; the table's figures follow its own edits by themselves.
 * @param {ComfyNode} node
 */
export const traceOf = (node) => trace(node, { own: !hasTable(node) });

/** Notes what the graph is when a prompt is made of it: edits that follow are not of that run. */
export function noteAsked(nodes) {
  asked = new WeakMap();
  for (const node of nodes) if (node.graph) asked.set(node, traceOf(node));
}

/** Takes over what a node's execution sent to the browser. */
export function remember(node, output) {
  const payload = output?.orthomerge?.[0];
  if (!payload || typeof payload !== "object") return;
  keep(node, { payload, time: (clock += 1), trace: asked.get(node) ?? traceOf(node) });
  for (const listener of listeners) listener(node);
}

function keep(node, result) {
  memory.set(node, result);
  const place = placeOf(node);
  if (!place) return;
  places.delete(place);
  places.set(place, result);
  if (places.size > MOST_IN_PAGE) places.delete(places.keys().next().value ?? "");
  writeStored(place, { ...result, payload: lean(result.payload), kind: node.comfyClass });
}

/** Where a node lies: its graph's own id and its number there. */
export function placeOf(node) {
  const graph = node.graph?.id;
  return graph && node.id !== undefined && node.id !== -1 ? `${graph}:${node.id}` : null;
}

const SMALL_CHARS = 65536;

/** Without the forecast's figures where they are large: these come back with the next run. */
function lean(payload) {
  if (payload.kind !== "mix") return payload;
  const { forecast, ...rest } = payload;
  return forecast && JSON.stringify(forecast).length <= SMALL_CHARS ? payload : rest;
}

/**
 * The last result of a node, from wherever it is still known.
 * @param {ComfyNode} node
 * @param {{nodeOutputs?: Record<string, any>}} [app]
 * @returns {Result | null}
 */
export function recall(node, app) {
  const known = memory.get(node);
  if (known) return known;
  const place = placeOf(node);
  const stored = place ? (places.get(place) ?? readStored(place, node.comfyClass)) : null;
  const fromApp = app?.nodeOutputs?.[String(node.id)]?.orthomerge?.[0];
  const found = stored ?? (fromApp ? { payload: fromApp, time: 0, trace: null } : null);
  if (found) memory.set(node, { ...found, time: 0 });
  return memory.get(node) ?? null;
}

/** Forgets a node's result for good. */
export function forget(node) {
  memory.delete(node);
  const place = placeOf(node);
  if (!place) return;
  places.delete(place);
  dropStored(place);
}

// ------------------------------------------------------------------ copies

/** Lets a copy of `node` take its rows along, wherever it is pasted. */
export function carryWithCopies(node) {
  const clone = node.clone;
  if (!clone) return;
  node.clone = function cloned() {
    const copy = clone.apply(this, arguments);
    const result = recall(node);
    if (!copy || result?.payload?.kind !== "mix") return copy;
    const before = copy.onSerialize;
    copy.onSerialize = function serialized(data) {
      before?.apply(this, arguments);
      if (!this.graph) data.properties = { ...data.properties, orthomerge: pack(result) };
    };
    return copy;
  };
}

function pack({ payload, trace: steps }) {
  const { proposal, names, warnings } = payload;
  return { version: CARRIED_VERSION, data: ascii(JSON.stringify({ proposal, names, warnings, trace: steps })) };
}

/** Takes what a copy, or a workflow of an earlier release, brings in its properties out of them. */
export function takeCarried(node) {
  const carried = node.properties?.orthomerge;
  if (!carried) return;
  delete node.properties.orthomerge;
  const found = unpack(carried);
  if (found && !recall(node)) memory.set(node, { ...found, time: 0 });
}

function unpack(carried) {
  if (carried.payload) return { payload: carried.payload, trace: null }; // release 0.1
  if (carried.version !== CARRIED_VERSION) return null;
  try {
    const { trace: steps, ...payload } = JSON.parse(carried.data);
    return { payload: { kind: "mix", forecast: null, ...payload }, trace: steps ?? null };
  } catch {
    return null; // edited by hand: the next run fills the table
  }
}
