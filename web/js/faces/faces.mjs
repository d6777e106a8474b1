/** What the other nodes show after a run: small, read-only, made of text and bars. */
import { barCell } from "../parts/cells.mjs";
import { copyText } from "../table/clipboard.mjs";
import { el, icon } from "../parts/dom.mjs";
import { worded } from "../parts/messages.mjs";
import { percent } from "../parts/numbers.mjs";
import { changedWords } from "../table/notices.mjs";
import { gridFace } from "./grid_face.mjs";
import { pairsTable } from "./pairs.mjs";
import { t } from "../parts/words.mjs";

const FACES = {
  compat: compatFace,
  analysis: analysisFace,
  mix: mixFace,
  merge: mergeFace,
  plan: planFace,
  grid: (payload, { take }) => gridFace(payload, take),
};

/**
 * The face for a payload, or null where its kind has none.
 * @param {any} payload
 * @param {{take: (recipe: any) => void}} actions what buttons on a face do
 */
export function faceFor(payload, actions) {
  return FACES[payload?.kind]?.(payload, actions) ?? null;
}

/** In place of a failure that is over. */
export const emptyFace = () => el("div.om-face-text.om-note", {}, t("notRun"));

/** Says that a result is not of the graph as it is, and what changed since. */
export function staleLine(changed, isOff) {
  const text = changed.length ? t("stale", { what: changedWords(changed) }) : t(isOff ? "staleOff" : "staleRun");
  return el("div.om-stale-line", { title: text, role: "status" }, icon("warn"), el("span", {}, text));
}

/** Why the last run stopped at this node. */
export function failureFace(text) {
  return el(
    "div.om-face-text",
    { role: "alert" },
    el("p.om-problem.om-error", {}, icon("warn"), el("strong", {}, t("stopped"))),
    el("p", {}, text),
  );
}

function table(heads, rows, label) {
  return el(
    "div.om-scroll",
    { tabIndex: 0, role: "region", "aria-label": label },
    el(
      "table.om-small-table",
      { "aria-label": label },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          heads.map((head) => el("th", { scope: "col" }, head)),
        ),
      ),
      el("tbody", {}, rows),
    ),
  );
}

function compatFace({ models }) {
  return table([`${t("model")} · ${t("coverage")}`, t("verdict")], (models ?? []).map(compatRow), t("verdict"));
}

function compatRow(report) {
  const coverage = report.coverage_frac ?? 0;
  const left = report.ok === false;
  const [state, notes] = [left ? t("skipped") : t("compatible"), compatNotes(report)];
  return el(
    "tr",
    { class: left ? "om-bad" : "" },
    el(
      "th",
      { scope: "row", title: report.file ?? report.name },
      report.name,
      barCell({ share: coverage, text: percent(coverage), label: t("coverage"), tone: "om-tone-kept" }),
    ),
    el(
      "td.om-wrap",
      { title: [report.verdict, ...(report.findings ?? [])].join("\n") },
      el("strong", {}, state),
      report.verdict ? `: ${report.verdict}` : "",
      notes.length ? el("div.om-note", {}, notes.join(" · ")) : null,
    ),
  );
}

/** What a person would want to know beside the verdict; what a misfit lacks says nothing. */
function compatNotes(report) {
  const repairs = (report.repairs ?? []).map((name) => t(`repair_${name}`));
  const lines = [[report.dtype, report.quantisation].filter((word) => word && word !== "none").join(" · ")];
  if (repairs.length) lines.push(t("repairedHow", { how: repairs.join(", ") }));
  if (report.ok === false) return lines;
  if (report.mismatched) lines.push(t("mismatched", { count: report.mismatched }));
  if (report.missing) lines.push(t("missingHere", { count: report.missing }));
  if (report.extra) lines.push(t("extraKeys", { count: report.extra }));
  if (report.duplicate_of) lines.push(t("duplicateOf", { model: report.duplicate_of }));
  return lines;
}

function analysisFace(payload) {
  const words = summaryFace(payload);
  if (!payload.figures?.names?.length) return words;
  return el("div.om-face-column", {}, words, pairsTable(payload.figures));
}

function summaryFace({ summary }) {
  const lines = Array.isArray(summary) ? summary : typeof summary === "string" ? summary.split("\n") : [];
  const start = lines.slice(
    0,
    Math.max(
      0,
      lines.findIndex((line, i) => i > 0 && /^\s*(##|\|)/.test(line)),
    ) || lines.length,
  );
  const shown = start
    .map((line) =>
      String(line)
        .replace(/^[#\-\s]+/, "")
        .trim(),
    )
    .filter(Boolean)
    .slice(0, 6);
  return shown.length
    ? el(
        "div.om-face-text",
        {},
        shown.map((line) => el("p", {}, withBold(line))),
      )
    : null;
}

/** `**word**` as bold text. */
const withBold = (line) =>
  line
    .split("**")
    .map((part, i) => (i % 2 ? el("strong", {}, part) : part))
    .filter((part) => part !== "");

function mixFace({ proposal, warnings }) {
  const rows = (proposal ?? []).map((row) =>
    el(
      "tr",
      { class: row.enabled ? "" : "om-off" },
      el("th", { scope: "row", title: row.model }, row.model),
      el(
        "td.om-wrap",
        {},
        el("span", {}, `${row.enabled ? row.delta_from : t("no")}${row.repeat > 1 ? ` · ${row.repeat}×` : ""}`),
        row.info ? el("div.om-note", {}, row.info) : null,
      ),
    ),
  );
  return el(
    "div.om-face-column",
    {},
    table([t("model"), t("from")], rows, t("model")),
    ...(warnings ?? []).map((text) =>
      el("div.om-problem.om-warning", {}, icon("warn"), el("span", {}, worded(text.message ?? text))),
    ),
  );
}

/** A dry run: its sentences. */
function planFace({ text }) {
  const lines = String(text ?? "")
    .split("\n")
    .filter(Boolean);
  return lines.length
    ? el(
        "div.om-face-text",
        {},
        lines.map((line) => el("p", {}, line)),
      )
    : null;
}

function mergeFace({ report, file }) {
  if (!report) return null;
  const { keys = {}, retention = {}, leave_one_out: alone = {}, notes = [], messages = [] } = report;
  const noted = notes.map((note) => worded(messages.find((message) => message.text === note) ?? note));
  const facts = [
    typeof report.seconds === "number" ? t("seconds", { value: report.seconds.toFixed(1) }) : null,
    typeof report.merge_peak_mib === "number" ? t("peak", { value: Math.round(report.merge_peak_mib) }) : null,
    keys.merged !== undefined ? t("keysMerged", { merged: keys.merged, base: keys.from_base ?? 0 }) : null,
    keys.repaired ? t("repaired", { count: keys.repaired }) : null,
    keys.extra ? t("extraKeys", { count: keys.extra }) : null,
  ].filter(Boolean);
  return el(
    "div.om-merge-face",
    {},
    file ? el("p.om-summary", {}, t("savedAs", { name: file })) : null,
    hashLine(report.content_hash),
    el("p.om-summary", {}, facts.join(" · ")),
    ...noted.map((note) => el("div.om-problem.om-warning", {}, icon("info"), el("span", {}, note))),
    table(
      [t("model"), t("kept"), t("alone")],
      retentionPairs(retention).map(([name, share]) =>
        el(
          "tr",
          {},
          el("th", { scope: "row", title: name }, name),
          el(
            "td",
            {},
            barCell({
              share,
              text: share === null ? "" : percent(share),
              label: t("kept"),
              tone: share > 1.1 ? "om-tone-much" : "om-tone-kept",
              help: share > 1.1 ? `${t("keptHelp")}\n${t("keptMuch")}` : t("keptHelp"),
            }),
          ),
          el("td", {}, typeof alone[name] === "number" ? percent(alone[name]) : ""),
        ),
      ),
      t("retention"),
    ),
  );
}

/** Retention as pairs, whether it came as a list or by name. */
function retentionPairs(retention) {
  if (!Array.isArray(retention)) return Object.entries(retention ?? {});
  return retention.map((item, i) =>
    typeof item === "object" && item !== null
      ? [item.model ?? item.row ?? String(i + 1), item.retention ?? item.share ?? null]
      : [String(i + 1), item],
  );
}

function hashLine(hash) {
  if (!hash) return null;
  return el(
    "div.om-hash",
    {},
    el("span", {}, t("hash")),
    el("code", { title: hash }, hash),
    el(
      "button.om-button",
      { type: "button", "aria-label": t("copyHash"), on: { click: () => copyText(hash) } },
      t("copyHash"),
    ),
  );
}
