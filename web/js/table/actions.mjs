/**
 * Gestures on the table and what they do to its state: edits, menus, lists, copies and presets.
 *
 * @typedef {import("./types").View} View
 */
import { copyText, openPaste } from "./clipboard.mjs";
import { rowDragging } from "./drag.mjs";
import { openLayers } from "./layers_panel.mjs";
import { openMenu, openPicker } from "../parts/popup.mjs";
import { chooseGridPicture } from "./take_cell.mjs";
import { openPresets } from "./presets.mjs";
import * as model from "./model.mjs";
import { replaceFigures } from "./body.mjs";
import { openNotices } from "./footer.mjs";
import { shortName } from "./notices.mjs";
import { BASE, COLUMNS, findProblems } from "./rules.mjs";
import { toJson, toTsv } from "./text.mjs";
import { focusKey } from "../parts/dom.mjs";
import { hint } from "../parts/hint.mjs";
import { shortNumber } from "../parts/numbers.mjs";
import { t } from "../parts/words.mjs";

/**
 * What the view's elements call: every edit goes through `change`, as one step of undo.
 * @param {View} view
 * @returns {import("./types").Actions}
 */
export function actions(view) {
  const { host } = view;
  /** @param {string | null} [focus] */
  const change = (state, focus = null) => {
    view.focusNext = focus;
    view.updated = null;
    const value = model.write(state);
    if (value === host.getValue()) view.refresh();
    else host.commit(value);
  };
  const at = () => view.state;
  const act = {
    change,
    set: (index, column, value) => change(model.setCell(at(), index, column, value)),
    resetCell: (index, column) => change(model.resetCell(at(), index, column), `${index}:${column}`),
    preview: (index, column, value) => preview(view, index, column, value),
    move: (from, to, part = "handle") => {
      const target = Math.max(0, Math.min(at().entries.length - 1, to));
      if (target === from) return;
      const name = at().entries[from].row.model;
      change(model.moveRow(at(), from, target), `${target}:${part}`);
      view.live.textContent = t("moved", { model: name, number: target + 1 });
    },
    remove: (index) => {
      const name = at().entries[index].row.model;
      const next = Math.min(index, at().entries.length - 2);
      change(model.removeRow(at(), index), next < 0 ? "add" : `${next}:menu`);
      view.live.textContent = t("removedRow", { model: name });
    },
    duplicate: (index) => change(model.duplicateRow(at(), index), `${index + 1}:alpha`),
    enable: (...names) => {
      const state = model.enableModels(at(), names);
      change(state, `${state.entries.findIndex((e) => e.row.model === names[0])}:enabled`);
    },
    setPart: (name, value) => {
      view.focusNext = name;
      host.setPart(name, value);
    },
    drag: rowDragging(view),
    menu: (index, anchor) => rowMenu(view, index, anchor),
    tableMenu: (anchor) => tableMenu(view, anchor),
    presets: (anchor) =>
      openPresets(anchor, {
        store: host.presets,
        say: host.say,
        current: () => snapshot(view),
        apply: (preset) => applySnapshot(view, preset),
      }),
    pickNew: (anchor) =>
      pick(view, anchor, t("addRow"), null, (name) => {
        change(model.addRow(at(), name), `${at().entries.length}:alpha`);
      }),
    pickModel: (index, anchor) =>
      pick(view, anchor, t("model"), at().entries[index].row.model, (name) => act.set(index, "model", name)),
    pickParent: (index, anchor) => pickParent(view, index, anchor),
    editLayers: (index, anchor) => openLayers(view, index, anchor),
    notices: (anchor) => openNotices(view, anchor),
    goTo: (index) => {
      if (!view.shown.includes(index)) {
        host.cosmetic.filter = undefined;
        view.refresh();
      }
      view.body.reveal(index);
      focusKey(view.root, `${index}:model`);
    },
  };
  return act;
}

/** While a number is being dragged: figures and formula follow, the value waits for the end. */
function preview(view, index, column, value) {
  if (!model.isValid(column, value)) return;
  const rows = view.state.entries.map((e, i) => (i === index ? { ...e.row, [column]: value } : e.row));
  const figures = view.figuresOf(rows);
  for (const at of view.shown) {
    const element = view.body.rowAt(at);
    if (element) replaceFigures(element, figures[at]);
  }
  const line = view.root.querySelector(".om-formula");
  if (line) line.textContent = view.formulaOf(rows);
}

function pick(view, anchor, label, current, onPick) {
  const { names } = view.host.context();
  const used = new Map();
  for (const { row } of view.state.entries) used.set(row.model, (used.get(row.model) ?? 0) + 1);
  const known = names.length ? names : [...used.keys()];
  const items = known.map((name) => ({ name, note: used.has(name) ? `${used.get(name)}×` : "" }));
  openPicker(anchor, { label, items, current, onPick });
}

function pickParent(view, index, anchor) {
  const { row } = view.state.entries[index];
  const rows = view.state.entries.map((e) => e.row);
  const names = view.host.context().names;
  const known = names.length ? names : [...new Set(rows.map((r) => r.model))];
  const loops = (name) =>
    findProblems(
      rows.map((r, i) => (i === index ? { ...r, enabled: true, delta_from: name } : r)),
      known,
    ).some((p) => p.row === index && p.code === "cycle");
  const items = [BASE, ...known.filter((name) => name !== row.model)].map((name) => ({
    name,
    disabled: name !== BASE && loops(name),
    note: loops(name) ? "↻" : "",
  }));
  openPicker(anchor, {
    label: `${t("from")}: ${shortName(row.model)}`,
    items,
    current: row.delta_from,
    onPick: (name) => view.act.set(index, "delta_from", name),
  });
}

function rowMenu(view, index, anchor) {
  const { act, state } = view;
  const last = state.entries.length - 1;
  const { row, touched } = state.entries[index];
  openMenu(anchor, `${row.model}: ${t("menu")}`, [
    { label: t("duplicate"), keys: "Ctrl D", action: () => act.duplicate(index) },
    { label: t("solo"), action: () => act.change(solo(view.state, index), `${index}:menu`) },
    null,
    { label: `${t("from")} …`, action: () => act.pickParent(index, anchor) },
    { label: `${t("layersPanel")} …`, action: () => act.editLayers(index, anchor) },
    { label: t("keepAll"), disabled: !view.figures[index]?.kept, action: () => keepAll(view, index, anchor) },
    null,
    {
      label: t("moveUp"),
      keys: "Alt ↑",
      disabled: index === 0,
      action: () => act.move(index, index - 1, "menu"),
    },
    {
      label: t("moveDown"),
      keys: "Alt ↓",
      disabled: index === last,
      action: () => act.move(index, index + 1, "menu"),
    },
    null,
    {
      label: t("resetRow"),
      disabled: !touched.length,
      action: () => act.change(model.resetRow(view.state, index), `${index}:menu`),
    },
    { label: t("remove"), keys: "Del", action: () => act.remove(index) },
  ]);
}

const ENOUGH = 0.005;
const MOST_TRIES = 8;

/** The alpha at which the merge keeps exactly this row's change, by the forecast (secant steps); or null. */
export function alphaThatKeepsAll(view, index) {
  const rows = view.state.entries.map((entry) => entry.row);
  const kept = (alpha) =>
    view.figuresOf(rows.map((row, i) => (i === index ? { ...row, alpha } : row)))[index]?.kept ?? Number.NaN;
  let [a, keptA] = [rows[index].alpha, kept(rows[index].alpha)];
  let b = Math.min(5, Math.max(-5, a / Math.max(keptA, 0.2)));
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    const keptB = kept(b);
    if (Math.abs(keptB - 1) < ENOUGH) return Math.round(b * 1e4) / 1e4;
    const next = b + ((1 - keptB) * (b - a)) / (keptB - keptA);
    if (!Number.isFinite(next) || next === 0 || Math.abs(next) > 5) return null;
    [a, keptA, b] = [b, keptB, next];
  }
  return null;
}

/** Sets the alpha at which the row is kept to 100 %, and says so. */
export function keepAll(view, index, anchor) {
  const alpha = alphaThatKeepsAll(view, index);
  if (alpha === null) hint(anchor, t("keepAllNone"));
  else {
    view.act.set(index, "alpha", alpha);
    view.live.textContent = t("keepAllDone", { alpha: shortNumber(alpha) });
  }
}

function solo(state, index) {
  return state.entries.reduce(
    (next, entry, i) => (entry.row.enabled === (i === index) ? next : model.setCell(next, i, "enabled", i === index)),
    state,
  );
}

function tableMenu(view, anchor) {
  const { host, act } = view;
  const rows = () => view.state.entries.map((e) => e.row);
  const copy = async (text) => {
    if (await copyText(text)) host.say(t("copied", { count: rows().length }));
  };
  openMenu(anchor, t("more"), [
    {
      label: t("copyJson"),
      action: () => copy(toJson(rows(), host.method(), view.state.table.options[host.method()])),
    },
    { label: t("copyTsv"), action: () => copy(toTsv(rows())) },
    {
      label: t("paste"),
      action: () =>
        openPaste(anchor, (found, options) => {
          act.change(model.replaceRows(view.state, found, options), "more");
          host.say(t("pasted", { count: found.length }));
        }),
    },
    { label: `${t("takeFromPicture")} …`, action: () => chooseGridPicture(view, anchor) },
    null,
    { label: t("resetTable"), action: () => act.change(model.resetTable(view.state), "more") },
  ]);
}

const snapshot = (view) => ({
  rows: view.state.entries.map(({ row: { info: _, ...row } }) => row),
  method: view.host.method(),
  options: view.state.table.options,
});

function applySnapshot(view, preset) {
  if (preset?.method) view.host.applyMethod(preset.method);
  const isSound = (row) =>
    typeof row?.model === "string" && COLUMNS.every((c) => !(c in row) || model.isValid(c, row[c]));
  const rows = (preset?.rows ?? []).filter(isSound); // the file is the person's: it may have been edited
  view.act.change(model.replaceRows(view.state, rows, preset?.options ?? {}), "presets");
}
