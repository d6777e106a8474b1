/**
 * The table as DOM: draws a `State`, turns gestures into edits, keeps focus and place. Knows nothing of
 * ComfyUI; everything from outside comes through `host`.
 *
 * @typedef {import("./types").Host} Host
 * @typedef {import("./types").View} View
 */
import { el, focusedKey, focusKey, icon, shield } from "../parts/dom.mjs";
import { t } from "../parts/words.mjs";
import { actions } from "./actions.mjs";
import { createBody } from "./body.mjs";
import { footer, formulaText } from "./footer.mjs";
import { tableKeys } from "./keys.mjs";
import * as model from "./model.mjs";
import { gatherNotices } from "./notices.mjs";
import { setOption } from "./options.mjs";
import { optionsPanel } from "./options_panel.mjs";
import { hasTextEncoders } from "./part_choices.mjs";
import { partsBar } from "./parts_bar.mjs";
import { takeDroppedPictures } from "./take_cell.mjs";
import { filterBar, filtered, header, toolbar } from "./toolbar.mjs";

/**
 * @param {Host} host
 * @param {AbortSignal} signal
 * @returns {View}
 */
export function createTableView(host, signal) {
  const root = el("section.om.om-table-view", { "aria-label": "OrthoMixer" });
  const live = el("div.om-live", { role: "status", "aria-live": "polite" });
  /** @type {any} */
  const view = {
    host,
    root,
    live,
    state: null,
    notices: [],
    figures: [],
    shown: [],
    isBroken: false,
    focusNext: null,
    seen: null,
    updated: null,
  };
  shield(root, signal);
  tableKeys(view, signal);
  takeDroppedPictures(view, signal);
  view.act = actions(view);
  view.figuresOf = (rows) => currentFigures(view, rows);
  view.formulaOf = (rows) => formulaText(view, rows);
  view.body = createBody(view, signal);
  view.head = el("thead", { role: "rowgroup" });
  const table = el("table.om-table", { role: "table", "aria-label": "OrthoMixer" }, view.head, view.body.root);
  view.body.scroll.append(table);
  view.table = table;
  view.filter = filterBar(view);
  view.refresh = () => refreshOnce(view);
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

/** Taking a focused field out of the page blurs it, which commits it, which asks for a redraw: that one waits. */
function refreshOnce(view) {
  if (view.isDrawing) {
    view.isDue = true;
    return;
  }
  view.isDrawing = true;
  try {
    do {
      view.isDue = false;
      refresh(view);
    } while (view.isDue);
  } finally {
    view.isDrawing = false;
  }
}

function refresh(view) {
  const { root, body } = view;
  const focus = view.focusNext ?? focusedKey(root);
  const wanted = view.focusNext;
  view.focusNext = null;
  const { state, error } = readState(view);
  view.state = state;
  view.isBroken = error !== null;
  announceUpdates(view);
  if (error) root.replaceChildren(brokenBox(view, error), view.live);
  else drawParts(view);
  const [index] = String(wanted ?? "").split(":");
  if (wanted && /^\d+$/.test(index)) body.reveal(Number(index));
  if (focus && focusedKey(root) !== focus) focusKey(root, focus);
  view.host.resized();
}

function drawParts(view) {
  const rows = view.state.entries.map((entry) => entry.row);
  view.figures = currentFigures(view, rows);
  view.notices = gatherNotices(view);
  view.shown = filtered(view);
  view.hasText = hasText(view, rows);
  view.root.classList.toggle("om-has-text", view.hasText);
  const { scroll } = view.body;
  const top = scroll.scrollTop;
  view.head.replaceChildren(header(view));
  view.body.draw();
  view.filter.update();
  view.table.setAttribute("aria-rowcount", String(rows.length + 1));
  const isStale = (view.host.context().changed ?? []).length > 0;
  view.root.classList.toggle("om-stale", isStale);
  const below = [footer(view), partsBar(view), options(view), view.live].filter((part) => part !== null);
  const parts = [toolbar(view), view.filter.root, scroll, ...below];
  if (scroll.parentElement === view.root) {
    // the rows stay in the page: taking them out and in again would lose focus and place
    while (view.root.firstChild && view.root.firstChild !== view.filter.root) view.root.firstChild.remove();
    while (view.root.lastChild && view.root.lastChild !== scroll) view.root.lastChild.remove();
    view.root.prepend(parts[0]);
    view.root.append(...parts.slice(3));
  } else view.root.replaceChildren(...parts);
  scroll.scrollTop = top;
}

/** Whether the set has text encoders, or a row speaks of them. */
function hasText(view, rows) {
  const { forecast, parts = null } = view.host.context();
  return (
    rows.some((row) => row.text !== undefined) ||
    hasTextEncoders(parts) ||
    Boolean(forecast?.keys?.some((key) => key.startsWith("text_encoder.")))
  );
}

function options(view) {
  const { host, state } = view;
  const method = host.method();
  return optionsPanel({
    method,
    schema: host.methods()[method],
    values: state.table.options[method] ?? {},
    open: host.cosmetic.optionsOpen === true,
    onToggle: (open) => {
      if (host.cosmetic.optionsOpen === open) return;
      host.cosmetic.optionsOpen = open;
      host.keepCosmetic();
      requestAnimationFrame(() => host.resized());
    },
    onChange: (param, value) => view.act.change(setOption(view.state, method, param, value)),
  });
}

function currentFigures(view, rows) {
  const { host, state } = view;
  return host.figures(rows, host.method(), state.table.options[host.method()] ?? {});
}

/** Says how many untouched rows a new proposal changed. */
function announceUpdates(view) {
  const { proposal } = view.host.context();
  const text = JSON.stringify(proposal ?? []);
  const before = view.seen;
  view.seen = { text, rows: new Map((proposal ?? []).map((row) => [row.model, JSON.stringify(row)])) };
  if (!before || before.text === text || before.text === "[]") return;
  const changed = view.state.entries.filter(
    (entry) =>
      entry.proposed && !entry.touched.length && before.rows.get(entry.row.model) !== JSON.stringify(entry.proposed),
  );
  view.updated = new Set(changed.map((entry) => entry.row.model));
  if (changed.length) {
    queueMicrotask(() => {
      view.live.textContent = t("updated", { count: changed.length });
    });
  }
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
