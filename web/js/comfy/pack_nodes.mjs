/** Which nodes are ours: the server's list says so; no name is repeated here. */

const CATEGORY = "OrthoMerge";
const OWN_WIDGETS = new Set(["ORTHOMERGE_TABLE", "ORTHOMERGE_MODELS"]);

/** Whether a node was registered by this pack. */
export const isOurs = (node) => node.constructor?.nodeData?.category === CATEGORY;

/** Whether a node is the mixer: the one with the table. */
export const hasTable = (node) => (node.widgets ?? []).some(({ type }) => type === "ORTHOMERGE_TABLE");

/** Whether a node shows its last result inside itself; the table and the list show it themselves. */
export const hasFace = (node) => isOurs(node) && !(node.widgets ?? []).some(({ type }) => OWN_WIDGETS.has(type));
