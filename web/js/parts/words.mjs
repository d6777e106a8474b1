/** The words of our own controls: English here, other languages from `locales/<lang>/main.json`. */

export const ENGLISH = {
  on: "On", model: "Model", from: "Delta from", alpha: "Alpha", repeat: "Repeat", layers: "Layers",
  size: "Size", fresh: "New", kept: "Kept", menu: "Row menu", move: "Move",
  sizeHelp: "Size of the delta, ‖δ‖, relative to the largest row",
  freshHelp: "New information: the part of this delta that no other single active row holds, 0–100 %",
  keptHelp: "Forecast retention: how much of this delta the merge keeps. 100 % = as if merged alone at alpha 1",
  keptEstimate: "An estimate: exact for linear methods only",
  alphaHelp: "Alpha, −5 to 5. 1 = the full delta, 0 = none. Drag the number or use the slider for 0 to 2",
  repeatHelp: "Repeat: counts the row 1 to 3 times",
  layersHelp: "Weights per layer: pattern=weight, comma separated, first match wins. Example: double_blocks.0-9=0.5, *attn*=0, default=1. Empty = all 1",
  allLayers: "all",
  layersPair: "“{part}” is not pattern=weight.", layersWeight: "The weight in “{part}” is not a number.",
  layersRange: "The range “{part}” runs backwards.", layersMany: "More than {part} pairs.",
  fromHelp: "The parent this model's delta is measured from", base: "base",
  toggleAll: "Turn all rows on or off", toggleRow: "Use {model}",
  addRow: "Add row", presets: "Presets", more: "More", search: "Search", nothingFound: "Nothing found",
  copyJson: "Copy as JSON", copyTsv: "Copy for a spreadsheet", paste: "Paste rows", resetTable: "Reset table",
  duplicate: "Duplicate", solo: "Only this row", moveUp: "Move up", moveDown: "Move down",
  resetRow: "Reset row", remove: "Remove",
  copied: "Copied {count} rows", pasted: "Pasted {count} rows", pasteHere: "Paste rows here (JSON or spreadsheet cells)",
  pasteBad: "Line {line}: {column} “{value}” was not understood", apply: "Apply", cancel: "Cancel", close: "Close",
  presetName: "Name of the preset", save: "Save", load: "Load {name}", delete: "Delete {name}",
  noPresets: "No presets yet. Save this table under a name.", presetSaved: "Saved “{name}”", presetLoaded: "Loaded “{name}”",
  presetDeleted: "Deleted “{name}”", presetFailed: "Presets could not be reached: {reason}",
  proposed: "Proposal: {value}", resetCell: "Proposal: {value}. Take it back", changed: "changed",
  yes: "on", no: "off", updated: "The optimizer updated {count} rows",
  unknown_model: "“{model}” is not in the set.", missing_parent: "The parent “{parent}” is not in the set.",
  cycle: "“{model}” is taken from itself, by way of “{parent}”.",
  parent_off: "“{parent}” is not merged, so its own change is missing here.",
  all_off: "Every row is off: the result would be the base.", enable: "Turn on {model}", addModel: "Add {model}",
  maxRows: "{method} takes {count} row at most; {active} are on.", orderMatters: "The order of rows counts.",
  options: "{method}: options", optionsChanged: "{count} changed", noOptions: "{method} has no options.",
  resetOption: "Back to {value}", outOfRange: "Expected {range}",
  waiting: "Run the graph once and the optimizer fills in the rows.",
  noModels: "Connect a model set, or add a row.", sum: "{active} of {total} rows on", strength: "Σ alpha {value}",
  broken: "The stored table cannot be read ({reason}).", brokenReset: "Start over",
  formula: "Result", row: "Row {number}", moved: "{model} is now row {number}", removedRow: "{model} removed",
  pickModels: "Choose models", modelsChosen: "{count} chosen", allModels: "All compatible models in the base's folder",
  clear: "Clear", refresh: "Refresh", listFailed: "The list of models could not be loaded.", selectShown: "Choose all shown",
  grade: "Grade", change: "Change", cosine: "Cosine of every pair of changes",
  pairHelp: "{a} and {b}: cosine {cosine}, new information {fresh}, conflict {conflict}",
  coverage: "Coverage", keys: "Keys", verdict: "Verdict",
  compatible: "fits", duplicateOf: "same bytes as {model}", skipped: "left out",
  hash: "Content hash", copyHash: "Copy the hash", seconds: "{value} s", peak: "peak {value} MiB", retention: "Kept of each row", alone: "Only it brings",
  keysMerged: "{merged} merged, {base} from the base", repaired: "{count} repaired", extraKeys: "{count} extra, not merged",
  repairedHow: "read with repairs: {how}", mismatched: "{count} of another shape or type: the base's are used", missingHere: "{count} missing: no change there",
  repair_strip_text_encoder: "text encoder left out", repair_strip_vae: "VAE left out", repair_fix_prefixes: "prefix taken off",
  repair_dequantise: "dequantised to float32", repair_fix_norm_names: "norm names matched", repair_remap_diffusers: "diffusers names translated",
  repair_aliases: "other spelling of the names",
  notRun: "Nothing yet: run the graph.", grades: "Models", savedAs: "Saved as {name}",
  texture: "Texture model", none: "none", textureUnknown: "The texture model “{model}” is not in the set.", stopped: "The last run stopped here",
};

let current = {};

/** `t("copied", {count: 3})`; a missing translation falls back to English. */
export function t(key, values = {}) {
  const text = current[key] ?? ENGLISH[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** Take over the words of `locale` from what the server's `/i18n` gave. */
export function useWords(messages, locale) {
  const own = messages?.[locale]?.orthomerge ?? messages?.[String(locale).split("-")[0]]?.orthomerge;
  current = own ?? {};
}
