/**
 * Wires as a run sees them: through reroutes, bypassed nodes and the borders of sub-graphs.
 *
 * @typedef {import("./types").ComfyNode} ComfyNode
 */
import { hasTable } from "./pack_nodes.mjs";

/** ComfyUI's numbers for a node's mode. */
const MUTED = 2;
const BYPASSED = 4;
/** Where a link of a sub-graph comes from when it comes from outside. */
const SUBGRAPH_INPUT = -10;
const MOST_STEPS = 64;

/** @param {ComfyNode} node */
export const isOff = (node) => node.mode === MUTED || node.mode === BYPASSED;

export const inputSlot = (node, name) => node.inputs?.findIndex((input) => input.name === name) ?? -1;

function linkById(graph, id) {
  if (id === null || id === undefined) return null;
  return graph.getLink?.(id) ?? graph.links?.get?.(id) ?? graph.links?.[id] ?? null;
}

/**
 * The node and output that feed an input; null where a run would get nothing.
 * @param {ComfyNode} node
 * @param {number} slot
 * @returns {{node: ComfyNode, slot: number} | null}
 */
export function source(node, slot) {
  let graph = node.graph;
  let link = graph ? linkById(graph, node.inputs?.[slot]?.link) : null;
  for (let steps = 0; link && steps < MOST_STEPS; steps += 1) {
    if (Number(link.origin_id) === SUBGRAPH_INPUT) {
      const outer = instanceOf(graph);
      if (!outer) return null;
      link = linkById(outer.graph, outer.inputs?.[link.origin_slot]?.link);
      graph = outer.graph;
      continue;
    }
    const from = graph.getNodeById(link.origin_id);
    if (!from || from.mode === MUTED) return null;
    if (from.mode === BYPASSED || from.isVirtualNode) {
      const passed = from.mode === BYPASSED ? from.inputs?.find((input) => input.type === link.type) : from.inputs?.[0];
      link = linkById(graph, passed?.link);
    } else if (from.subgraph) {
      graph = from.subgraph;
      link = linkById(graph, graph.outputs?.[link.origin_slot]?.linkIds?.[0]);
    } else return { node: from, slot: Number(link.origin_slot) };
  }
  return null;
}

/** The node that stands for a sub-graph in the graph around it; the first, where there are more. */
function instanceOf(subgraph) {
  const root = subgraph.rootGraph;
  if (!root) return null;
  for (const graph of [root, ...(root.subgraphs?.values?.() ?? [])]) {
    const found = (graph._nodes ?? graph.nodes ?? []).find((node) => node.subgraph === subgraph);
    if (found) return found;
  }
  return null;
}

/** The node behind a named input, or null. */
export function upstream(node, inputName) {
  if (!node.graph) return null; // not placed yet, or already removed
  const slot = inputSlot(node, inputName);
  return slot < 0 ? null : (source(node, slot)?.node ?? null);
}

/** Whether a run would get something through a named input. */
export const isLinked = (node, inputName) => upstream(node, inputName) !== null;

/** The nearest mixer above a node, whatever lies between them; null where there is none. */
export function mixerAbove(node) {
  const seen = new Set([node]);
  for (const item of seen) {
    if (item !== node && hasTable(item)) return item;
    (item.inputs ?? []).forEach((_, slot) => {
      const from = source(item, slot)?.node;
      if (from) seen.add(from);
    });
  }
  return null;
}
