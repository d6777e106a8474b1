/**
 * What a node's result depends on, as plain data: every node above it with its mode, its widgets and
 * its wires. Two traces tell whether a result is of the graph as it is now, and what changed.
 *
 * @typedef {{title: string, mode: number, widgets: Record<string, string>, wires: Record<string, string>}} Step
 * @typedef {Record<string, Step>} Trace
 * @typedef {{title: string, what: string[]}} Change `what`: names of widgets and inputs, "mode", or "node"
 */
import { isOff, source } from "./graph.mjs";

const MOST_NODES = 400;
const SHORT = 48;

/** A widget's value, short enough to keep; long ones as their hash. */
function digest(value) {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "");
  if (text.length <= SHORT) return text;
  let [a, b] = [0x811c9dc5, 0x1000193];
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b ^ code, 0x85ebca6b);
  }
  return `#${text.length}:${(a >>> 0).toString(36)}${(b >>> 0).toString(36)}`;
}

const counts = (widget) =>
  widget.serialize !== false && widget.type !== "button" && widget.options?.serialize !== false;

function widgetsOf(node) {
  return Object.fromEntries((node.widgets ?? []).filter(counts).map((widget) => [widget.name, digest(widget.value)]));
}

/** Ids are unique within one graph only. */
const idOf = (node) => `${node.graph?.isRootGraph === false ? `${node.graph.id}:` : ""}${node.id}`;

/**
 * @param {import("./types").ComfyNode} node
 * @param {{own?: boolean}} [options] own: whether the node's own widgets count
 * @returns {Trace}
 */
export function trace(node, { own = true } = {}) {
  /** @type {Trace} */
  const found = {};
  const queue = [node];
  while (queue.length && Object.keys(found).length < MOST_NODES) {
    const item = /** @type {import("./types").ComfyNode} */ (queue.shift());
    const id = idOf(item);
    if (id in found) continue;
    /** @type {Record<string, string>} */
    const wires = {};
    (item.inputs ?? []).forEach((input, slot) => {
      const from = source(item, slot);
      if (!from) return;
      wires[input.name] = `${idOf(from.node)}/${from.slot}`;
      queue.push(from.node);
    });
    const isSelf = item === node;
    found[id] = {
      title: String(item.title ?? item.type ?? id),
      mode: isOff(item) ? item.mode : 0,
      widgets: isSelf && !own ? {} : widgetsOf(item),
      wires,
    };
  }
  return found;
}

/**
 * @param {Trace} before
 * @param {Trace} now
 * @returns {Change[]} empty where nothing differs
 */
export function changes(before, now) {
  /** @type {Change[]} */
  const found = [];
  for (const [id, step] of Object.entries(now)) {
    const old = before[id];
    if (!old) found.push({ title: step.title, what: ["node"] });
    else {
      const what = [
        ...(old.mode === step.mode ? [] : ["mode"]),
        ...differing(old.widgets, step.widgets),
        ...differing(old.wires, step.wires),
      ];
      if (what.length) found.push({ title: step.title, what });
    }
  }
  const gone = Object.keys(before).filter((id) => !(id in now));
  return [...found, ...gone.map((id) => ({ title: before[id].title, what: ["node"] }))];
}

const differing = (a, b) => [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((name) => a[name] !== b[name]);
