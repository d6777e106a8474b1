/**
 * Names of nodes, inputs and outputs in the page's language.
 *
 * Older pages load their own languages after the packs' and put them in the packs' place, so that only
 * English names are left. There the definitions themselves are worded before the page reads them, under
 * the very names that its look-up falls back to. Newer pages find the translations and show the same.
 */
import { definitionsOf } from "./locale.mjs";

/** @param {Record<string, any>} defs ComfyUI's node definitions, before they are registered */
export function noteDefs(defs, app) {
  const words = definitionsOf(app);
  for (const [id, own] of Object.entries(words)) if (defs[id]) wordDefinition(defs[id], own);
}

/** Puts translated words into one definition; exported for its test. */
export function wordDefinition(def, own) {
  if (own.display_name) def.display_name = own.display_name;
  if (own.description) def.description = own.description;
  for (const group of ["required", "optional"]) {
    for (const [name, spec] of Object.entries(def.input?.[group] ?? {})) {
      const found = own.inputs?.[name];
      if (!found || !Array.isArray(spec)) continue;
      spec[1] ??= {};
      if (found.tooltip) spec[1].tooltip = found.tooltip;
      if (found.name) spec[1].display_name = found.name;
    }
  }
  Object.entries(own.outputs ?? {}).forEach(([at, found]) => {
    if (found.name && def.output_name) def.output_name[at] = found.name;
    if (found.tooltip && def.output_tooltips) def.output_tooltips[at] = found.tooltip;
  });
}

/** Labels a new node's widgets and sockets; its definition has no place for those. */
export function labelNode(node, app) {
  const own = definitionsOf(app)[node.comfyClass];
  if (!own) return;
  for (const widget of node.widgets ?? []) widget.label = own.inputs?.[widget.name]?.name ?? widget.label;
  for (const input of node.inputs ?? []) input.localized_name = own.inputs?.[input.name]?.name ?? input.localized_name;
  (node.outputs ?? []).forEach((output, at) => {
    output.localized_name = own.outputs?.[at]?.name ?? output.localized_name;
  });
}
