/**
 * Everything the table has to tell, once each, at the row it concerns. No elements.
 *
 * @typedef {import("./types").Notice} Notice
 * @typedef {import("./types").View} View
 */
import { splitFolder } from "../parts/names.mjs";
import { t } from "../parts/words.mjs";
import { layersAdvice } from "./layers_advice.mjs";
import { disagreeing } from "./part_choices.mjs";
import { BASE, findProblems, isActive } from "./rules.mjs";

/** Warnings of the optimizer that say why a row is off: the row's own reason tells them. */
const OFF_KINDS = new Set(["nonfinite", "null", "duplicate", "redundant", "group"]);
const LEVELS = { error: 0, warning: 1, info: 2 };

export const shortName = (name) => (name === BASE ? t("base") : splitFolder(name)[1]);

/**
 * @param {View} view
 * @returns {Notice[]} errors first, then by row
 */
export function gatherNotices(view) {
  const context = view.host.context();
  const rows = view.state.entries.map((entry) => entry.row);
  const own = [...rowNotices(rows, context.names), ...layerNotices(rows, context.forecast)];
  const offered = optimizerNotices(rows, context.warnings ?? [], own);
  const about = [...tableNotices(view, rows), ...own, ...offered];
  const hasError = about.some((notice) => notice.tone === "error");
  if (context.failure && !hasError) about.unshift({ code: "failure", tone: "error", row: -1, text: context.failure });
  return about.sort((a, b) => LEVELS[a.tone] - LEVELS[b.tone] || a.row - b.row);
}

/** @returns {Notice[]} */
function rowNotices(rows, names) {
  const known = names.length ? names : rows.flatMap((row) => [row.model, row.delta_from]);
  return findProblems(rows, known).map(({ row, code, severity, model = "", parent = "" }) => ({
    code,
    tone: severity,
    row,
    text: t(code, { model: shortName(model), parent: shortName(parent) }),
    enable: code === "parent_off" ? [parent] : [],
    isNew: code === "parent_off" && !rows.some((item) => item.model === parent),
  }));
}

/** @returns {Notice[]} */
function layerNotices(rows, forecast) {
  return rows.flatMap((row, index) => {
    const advice = row.enabled ? layersAdvice(row.layers, forecast) : null;
    return advice ? [{ code: advice.code, tone: advice.tone, row: index, text: t(advice.code, advice) }] : [];
  });
}

/** @returns {Notice[]} */
function optimizerNotices(rows, warnings, own) {
  return warnings.flatMap(({ kind, text, models, enable }) => {
    const row = rows.findIndex((item) => item.model === models[0]);
    const isOffKind = OFF_KINDS.has(kind);
    const isOver = kind === "lineage" ? rows[row]?.text !== undefined : isOffKind || kind === "component";
    if (isOver && rows[row]?.enabled) return []; // the person decided otherwise
    const isTwice =
      kind === "reconstruction" && own.some((notice) => notice.row === row && notice.code === "parent_off");
    if (isTwice) return [];
    const missing = enable.filter((name) => !rows.some((item) => item.model === name && isActive(item)));
    if (kind === "reconstruction" && enable.length && !missing.length) return [];
    return [
      {
        code: kind || "note",
        tone: /** @type {const} */ ("warning"),
        row,
        text,
        enable: missing,
        isTold: isOffKind && row >= 0,
      },
    ];
  });
}

/** @returns {Notice[]} */
function tableNotices(view, rows) {
  const { host } = view;
  const { proposal, names, isDetached, changed = [], parts = null } = host.context();
  const { model: texture } = host.texture();
  const schema = host.methods()[host.method()];
  const active = rows.filter(isActive).length;
  /** @type {Notice[]} */
  const found = [];
  const add = (tone, code, values = {}, more = {}) =>
    found.push({ code, tone, row: -1, text: t(code, values), ...more });
  if (schema?.max_rows && active > schema.max_rows) {
    add("error", "maxRows", { method: schema.label ?? host.method(), count: schema.max_rows, active });
  }
  if (texture && names.length && !names.includes(texture)) add("error", "textureUnknown", { model: texture });
  const odd = host.parts().prediction ? [] : disagreeing(parts, rows);
  if (odd.length) {
    const said = odd.map(({ name, words }) => `${shortName(name)}: ${words}`).join(", ");
    add("error", "predictionOpen", { said });
  }
  if (isDetached) add("info", "detached", {}, { action: { label: t("startPlain"), run: () => host.forget() } });
  else if (proposal === null && rows.length) add("info", "waiting");
  if (changed.length) add("warning", "staleTable", { what: changedWords(changed) });
  if (schema?.order_matters && active > 1) add("info", "orderMatters");
  return found;
}

/** "Ortho Mixer" of "Merge: SLERP, block weights (Ortho Mixer)": titles carry words to search for. */
const shortTitle = (title) => /\bOrtho [A-Z]\w*( [A-Z]\w*)*/.exec(title)?.[0] ?? title;

/** "Ortho Model Set (models), Ortho Mixer" from what changed. */
export function changedWords(changed) {
  const named = changed.slice(0, 3).map(({ title, what }) => {
    const words = what.map((word) => (word === "mode" ? t("bypass") : word)).filter((word) => word !== "node");
    const name = shortTitle(title);
    return words.length ? `${name} (${words.slice(0, 3).join(", ")})` : name;
  });
  return named.join(", ") + (changed.length > 3 ? ` +${changed.length - 3}` : "");
}

/**
 * The summary: words for what is not shown in full, and the one notice that is.
 * @param {Notice[]} notices
 * @returns {{shown: Notice | null, words: string}}
 */
export function summarize(notices) {
  const errors = notices.filter((notice) => notice.tone === "error");
  const warnings = notices.filter((notice) => notice.tone === "warning");
  const loud = errors.length ? errors : warnings.length ? warnings : notices.slice(0, 1);
  const shown = loud.length === 1 && !loud[0].isTold ? loud[0] : null;
  const rest = [...errors, ...warnings].filter((notice) => notice !== shown);
  const counted = new Map();
  for (const { code } of rest) counted.set(code, (counted.get(code) ?? 0) + 1);
  const words = [...counted].map(([code, count]) => countWords(code, count));
  return { shown, words: words.join(" · ") };
}

function countWords(code, count) {
  const key = `count_${code}`;
  const word = t(count === 1 ? `${key}_one` : key, { count });
  return word.startsWith("count_") ? t(count === 1 ? "count_note_one" : "count_note", { count }) : word;
}
