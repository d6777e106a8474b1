/**
 * The table as DOM: draws a `State`, turns gestures into edits, keeps the focus where it was.
 * Knows nothing of ComfyUI; everything from outside comes through `host`.
 *
 * @typedef {{
 *   getValue: () => string, commit: (value: string) => void,
 *   context: () => {proposal: object[] | null, names: string[],
 *     warnings?: {text: string, enable: string[]}[], failure?: string},
 *   method: () => string, methods: () => Record<string, {label?: string, summary?: string, params: object[]}>,
 *   texture: () => {model: string, alpha: number}, applyMethod: (method: string) => void,
 *   figures: (rows: object[], method: string, options: object) => (object | null)[],
 *   say: (text: string, severity?: string) => void, history: (step: "undo" | "redo") => void,
 *   presets: object, cosmetic: Record<string, unknown>, resized: () => void }} Host
 */
import { el, focusedKey, focusKey, icon, iconButton, shield } from "../parts/dom.mjs";
import { footer, formulaText } from "./footer.mjs";
import { layersTrouble } from "./layers.mjs";
import { optionsPanel } from "./options_panel.mjs";
import * as model from "./model.mjs";
import { rowElement } from "./row.mjs";
import { findProblems, isActive } from "./rules.mjs";
import { actions } from "./actions.mjs";
import { tableKeys } from "./keys.mjs";
import { t } from "../parts/words.mjs";

const HEADS = [["model"], ["delta_from", "from"], ["alpha"], ["repeat"], ["layers"], ["size"], ["fresh"], ["kept"]];

/** @param {Host} host */
export function createTableView(host, signal) {
  const root = el("section.om.om-table-view", { "aria-label": "OrthoMixer" });
  const view = { host, root, state: null, focusNext: null, seen: null };
  shield(root, signal);
  tableKeys(view, signal);
  view.act = actions(view);
  view.figuresOf = (rows) => currentFigures(view, rows);
  view.formulaOf = (rows) => formulaText(view, rows);
  view.refresh = () => refresh(view);
  view.destroy = () => root.remove();
  view.refresh();
  return view;
}

function readState(view) {
  const { proposal, names } = view.host.context();
  try {
    const table = model.readTable(view.host.getValue());
    return { state: model.makeState(table, proposal, names), error: null };
  } catch (error) {
    if (!(error instanceof model.TableError)) throw error;
    return { state: model.makeState(model.emptyTable(), proposal, names), error };
  }
}

function refresh(view) {
  const { root } = view;
  const focus = view.focusNext ?? focusedKey(root);
  const scroll = root.querySelector(".om-scroll")?.scrollTop ?? 0;
  const { state, error } = readState(view);
  view.state = state;
  announceUpdates(view);
  root.replaceChildren(...(error ? [brokenBox(view, error)] : parts(view)), liveRegion(view));
  const area = root.querySelector(".om-scroll");
  if (area) area.scrollTop = scroll;
  const had = view.focusNext !== null || focus !== null;
  view.focusNext = null;
  if (had && focus) focusKey(root, focus);
  view.host.resized();
}

function liveRegion(view) {
  view.live ??= el("div.om-live", { role: "status", "aria-live": "polite" });
  return view.live;
}

/** Says how many untouched rows a new proposal changed. */
function announceUpdates(view) {
  const { proposal } = view.host.context();
  const text = JSON.stringify(proposal ?? []);
  const before = view.seen;
  view.seen = { text, rows: new Map((proposal ?? []).map((row) => [row.model, JSON.stringify(row)])) };
  if (!before || before.text === text || before.text === "[]") return;
  const changed = view.state.entries.filter(
    (e) => e.proposed && !e.touched.length && before.rows.get(e.row.model) !== JSON.stringify(e.proposed),
  );
  view.updated = new Set(changed.map((e) => e.row.model));
  if (changed.length)
    queueMicrotask(() => {
      view.live.textContent = t("updated", { count: changed.length });
    });
}

function brokenBox(view, error) {
  return el(
    "div.om-broken",
    { role: "alert" },
    icon("warn"),
    el("span", {}, t("broken", { reason: error.message })),
    el("button.om-button", { type: "button", on: { click: () => view.host.commit("") } }, t("brokenReset")),
  );
}

function parts(view) {
  const { state, host } = view;
  const rows = state.entries.map((e) => e.row);
  const problems = rowProblems(view, rows);
  const figures = currentFigures(view, rows);
  return [
    toolbar(view),
    el(
      "div.om-scroll",
      { tabIndex: -1 },
      el("table.om-table", { role: "table", "aria-label": "OrthoMixer" }, header(view), body(view, problems, figures)),
    ),
    footer(view, rows, problems),
    optionsPanel({
      method: host.method(),
      schema: host.methods()[host.method()],
      values: state.table.options[host.method()] ?? {},
      open: host.cosmetic.optionsOpen === true,
      onToggle: (open) => {
        host.cosmetic.optionsOpen = open;
        host.resized();
      },
      onChange: (param, value) => view.act.change(model.setOption(state, host.method(), param, value)),
    }),
  ];
}

function currentFigures(view, rows) {
  const { host, state } = view;
  return host.figures(rows, host.method(), state.table.options[host.method()] ?? {});
}

function rowProblems(view, rows) {
  const { names } = view.host.context();
  const known = names.length ? names : rows.flatMap((r) => [r.model, r.delta_from]);
  const layers = rows.flatMap((row, index) => {
    const trouble = row.enabled ? layersTrouble(row.layers) : null;
    return trouble ? [{ ...trouble, row: index, severity: "error", model: row.model, parent: row.delta_from }] : [];
  });
  return [...findProblems(rows, known), ...layers].map((p) => ({
    ...p,
    hasRow: rows.some((r) => r.model === p.parent),
  }));
}

// ------------------------------------------------------------------ pieces

function toolbar(view) {
  const { state, act } = view;
  const active = state.entries.filter((e) => isActive(e.row));
  const strength = active.reduce((sum, e) => sum + e.row.alpha * e.row.repeat, 0);
  const button = (name, label, onClick, props = {}) =>
    el(
      "button.om-button",
      {
        type: "button",
        ...props,
        on: { click: (event) => onClick(event.currentTarget) },
      },
      icon(name),
      el("span", {}, label),
    );
  return el(
    "div.om-toolbar",
    {},
    button("plus", t("addRow"), act.pickNew, { data: { key: "add" }, "aria-haspopup": "listbox" }),
    el(
      "span.om-sum",
      {},
      t("sum", { active: active.length, total: state.entries.length }),
      el("span.om-sum-alpha", {}, t("strength", { value: Math.round(strength * 100) / 100 })),
    ),
    button("down", t("presets"), act.presets, { data: { key: "presets" }, "aria-haspopup": "dialog" }),
    iconButton("more", t("more"), (event) => act.tableMenu(event.currentTarget), {
      data: { key: "more" },
      "aria-haspopup": "menu",
    }),
  );
}

function header(view) {
  const { state, act } = view;
  const all = model.toggleState(state);
  const box = el("input", {
    type: "checkbox",
    checked: all === "all",
    indeterminate: all === "some",
    disabled: !state.entries.length,
    "aria-label": t("toggleAll"),
    data: { key: "all" },
    on: { change: () => act.change(model.toggleAll(view.state)) },
  });
  const first = el(
    "th.om-c-enabled",
    { role: "columnheader", scope: "col" },
    el("label.om-check", { title: t("toggleAll") }, box, el("span.om-box", {}, icon("check"))),
  );
  const cells = HEADS.map(([column, word = column]) =>
    el(
      "th",
      {
        role: "columnheader",
        scope: "col",
        class: `om-c-${column}`,
        title: word in { size: 1, fresh: 1, kept: 1 } ? t(`${word}Help`) : "",
      },
      t(word),
    ),
  );
  return el(
    "thead",
    { role: "rowgroup" },
    el("tr", { role: "row" }, first, ...cells, el("td.om-c-menu", { role: "cell" })),
  );
}

function body(view, problems, figures) {
  const { state, act } = view;
  const rows = state.entries.map((entry, index) => {
    const row = rowElement({
      entry,
      index,
      figures: figures[index],
      problems: problems.filter((p) => p.row === index),
      act,
    });
    if (view.updated?.has(entry.row.model)) row.classList.add("om-updated");
    return row;
  });
  if (!rows.length) {
    const words = view.host.context().proposal === null ? t("waiting") : t("noModels");
    rows.push(el("tr", { role: "row" }, el("td.om-empty", { role: "cell", colSpan: 10 }, words)));
  }
  return el("tbody", { role: "rowgroup" }, ...rows);
}
