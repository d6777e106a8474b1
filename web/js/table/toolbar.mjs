/**
 * Above the rows: adding, the count of what is on, presets, and for long tables a filter.
 *
 * @typedef {import("./types").View} View
 */
import { el, icon, iconButton } from "../parts/dom.mjs";
import { filterItems } from "../parts/names.mjs";
import { shortNumber } from "../parts/numbers.mjs";
import { t } from "../parts/words.mjs";
import * as model from "./model.mjs";
import { changedColumns } from "./row.mjs";
import { isActive } from "./rules.mjs";

const LONG_TABLE = 8;
const STATES = /** @type {const} */ (["all", "on", "off", "noted", "changed"]);
const HEADS = [
  ["model"],
  ["delta_from", "from"],
  ["alpha"],
  ["text", "textAlpha"],
  ["repeat"],
  ["layers"],
  ["size"],
  ["fresh"],
  ["kept"],
];
const HELP = new Set(["size", "fresh", "kept"]);

/** @param {View} view */
export function toolbar(view) {
  const { state, act } = view;
  const active = state.entries.filter((entry) => isActive(entry.row));
  const strength = active.reduce((sum, { row }) => sum + row.alpha * row.repeat, 0);
  const button = (name, label, onClick, props = {}) =>
    el(
      "button.om-button",
      { type: "button", ...props, on: { click: (event) => onClick(event.currentTarget) } },
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
      el("span.om-sum-alpha", {}, t("strength", { value: shortNumber(strength) })),
    ),
    button("down", t("presets"), act.presets, { data: { key: "presets" }, "aria-haspopup": "dialog" }),
    iconButton("more", t("more"), (event) => act.tableMenu(event.currentTarget), {
      data: { key: "more" },
      "aria-haspopup": "menu",
    }),
  );
}

/** A line with a filter; kept over redraws, so that typing in it is never interrupted. */
export function filterBar(view) {
  const filter = () => (view.host.cosmetic.filter ??= { text: "", state: "all" });
  const changed = () => {
    view.refresh();
    view.body.scroll.scrollTop = 0;
  };
  const text = el("input.om-input.om-filter", {
    type: "search",
    placeholder: t("filter"),
    "aria-label": t("filter"),
    value: filter().text,
    data: { key: "filter" },
  });
  text.addEventListener("input", () => {
    filter().text = text.value;
    changed();
  });
  const select = el(
    "select.om-input",
    { "aria-label": t("filterState"), data: { key: "filterState" } },
    ...STATES.map((state) => el("option", { value: state }, t(`filter_${state}`))),
  );
  select.value = filter().state;
  select.addEventListener("change", () => {
    filter().state = /** @type {any} */ (select.value);
    changed();
  });
  const count = el("span.om-note", { role: "status" });
  const root = el("div.om-filter-bar", { hidden: true });
  const update = () => {
    const total = view.state.entries.length;
    const isHidden = total < LONG_TABLE && !isFiltering(view);
    if (root.hidden !== isHidden) root.replaceChildren(...(isHidden ? [] : [text, select, count]));
    root.hidden = isHidden;
    count.textContent = view.shown.length === total ? "" : t("filterShown", { shown: view.shown.length, total });
  };
  return { root, update };
}

const isFiltering = (view) =>
  Boolean(view.host.cosmetic.filter?.text || (view.host.cosmetic.filter?.state ?? "all") !== "all");

/** Indices of the entries that the filter lets through. */
export function filtered(view) {
  const { entries } = view.state;
  const all = entries.map((_, index) => index);
  if (!isFiltering(view)) return all;
  const { text, state } = view.host.cosmetic.filter;
  const noted = new Set(view.notices.filter((notice) => notice.tone !== "info").map((notice) => notice.row));
  const passes = {
    all: () => true,
    on: (index) => isActive(entries[index].row),
    off: (index) => !isActive(entries[index].row),
    noted: (index) => noted.has(index),
    changed: (index) =>
      entries[index].touched.length > 0 && (changedColumns(entries[index]).length > 0 || !entries[index].proposed),
  }[state];
  const named = new Set(
    filterItems(
      entries.map(({ row }, index) => ({ name: `${row.model} ${row.delta_from}`, index })),
      text,
    ).map((item) => item.index),
  );
  return all.filter((index) => named.has(index) && passes(index));
}

/** @param {View} view */
export function header(view) {
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
      { role: "columnheader", scope: "col", class: `om-c-${column}`, title: HELP.has(word) ? t(`${word}Help`) : "" },
      t(word),
    ),
  );
  return el("tr", { role: "row" }, first, ...cells, el("td.om-c-menu", { role: "cell" }));
}
