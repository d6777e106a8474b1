/**
 * The rows in the page: only those in sight and a few around them. All rows are of one height, so that
 * no message moves another row, and a row that did not change keeps its element.
 *
 * @typedef {import("./types").View} View
 */
import { el } from "../parts/dom.mjs";
import { t } from "../parts/words.mjs";
import { figureCells, rowElement } from "./row.mjs";

const ALL_DRAWN = 60;
const MARGIN_ROWS = 10;
const USUAL_HEIGHT = 54;

/**
 * @param {View} view
 * @returns {import("./types").Body & {root: HTMLElement, empty: string}}
 */
export function createBody(view, signal) {
  const root = el("tbody", { role: "rowgroup" });
  const scroll = el("div.om-scroll.om-rows", { tabIndex: -1 });
  /** @type {Map<number, {mark: string, figures: string, element: HTMLElement}>} */
  let drawn = new Map();
  let waiting = 0;

  const height = () =>
    [...drawn.values()].find(({ element }) => element.offsetHeight)?.element.offsetHeight ?? USUAL_HEIGHT;
  const range = () => {
    const { shown } = view;
    if (shown.length <= ALL_DRAWN) return [0, shown.length];
    const each = height();
    const first = Math.floor(scroll.scrollTop / each) - MARGIN_ROWS;
    const count = Math.ceil((scroll.clientHeight || 600) / each) + 2 * MARGIN_ROWS;
    const from = Math.max(0, Math.min(first, shown.length - count));
    return [from, Math.min(shown.length, from + count)];
  };
  const rowOf = (index) => {
    const [mark, figures] = [markOf(view, index), JSON.stringify(view.figures[index])];
    const old = drawn.get(index);
    if (old?.mark !== mark) return { mark, figures, element: makeRow(view, index) };
    if (old.figures !== figures) replaceFigures(old.element, view.figures[index]);
    return { ...old, figures };
  };
  const draw = () => {
    const [from, to] = range();
    const each = height();
    const next = new Map(view.shown.slice(from, to).map((index) => [index, rowOf(index)]));
    const rows = [...next.values()].map(({ element }) => element);
    drawn = next;
    place(root, [spacer(from * each), ...rows, spacer((view.shown.length - to) * each), emptyRow(view)]);
  };
  scroll.addEventListener(
    "scroll",
    () => {
      if (view.shown.length <= ALL_DRAWN) return;
      waiting ||= requestAnimationFrame(() => {
        waiting = 0;
        draw();
      });
    },
    { signal, passive: true },
  );
  const reveal = (index) => {
    const at = view.shown.indexOf(index);
    if (at < 0) return;
    const [top, each, head] = [at * height(), height(), scroll.querySelector("thead")?.offsetHeight ?? 0];
    if (top < scroll.scrollTop) scroll.scrollTop = top;
    else if (top + each > scroll.scrollTop + scroll.clientHeight - head)
      scroll.scrollTop = top + each + head - scroll.clientHeight;
    draw();
  };
  return { root, scroll, draw, reveal, empty: "", rowAt: (index) => drawn.get(index)?.element ?? null };
}

/** Puts elements in order without touching those that stand right: they keep focus and selection. */
function place(root, wanted) {
  const elements = wanted.filter(Boolean);
  const stay = new Set(elements);
  for (const child of [...root.children]) if (!stay.has(child)) child.remove();
  elements.forEach((element, i) => {
    if (root.children[i] !== element) root.insertBefore(element, root.children[i] ?? null);
  });
}

function markOf(view, index) {
  const { row, touched, proposed } = view.state.entries[index];
  const notices = view.notices
    .filter((notice) => notice.row === index)
    .map(({ tone, text, enable }) => [tone, text, enable]);
  const hasNew = view.updated?.has(row.model);
  return JSON.stringify([
    row,
    touched,
    proposed,
    notices,
    hasNew,
    view.hasText,
    t("model"),
    view.shown.length === view.state.entries.length,
  ]);
}

function makeRow(view, index) {
  const entry = view.state.entries[index];
  const notices = view.notices.filter((notice) => notice.row === index);
  const element = rowElement({
    entry,
    index,
    figures: view.figures[index],
    notices,
    hasText: view.hasText,
    act: view.act,
  });
  if (view.updated?.has(entry.row.model)) element.classList.add("om-updated");
  return element;
}

export function replaceFigures(element, figures) {
  const cells = figureCells(figures);
  element.querySelectorAll("td[data-figure]").forEach((cell, i) => cell.replaceWith(cells[i]));
}

const spacer = (height) =>
  height > 0 ? el("tr.om-spacer", { "aria-hidden": "true", style: { height: `${height}px` } }) : null;

function emptyRow(view) {
  if (view.shown.length) return null;
  const words = view.state.entries.length ? t("noneShown") : emptyWords(view);
  return el("tr", { role: "row" }, el("td.om-empty", { role: "cell", colSpan: 10 }, words));
}

function emptyWords(view) {
  const { proposal, isWired } = view.host.context();
  if (proposal === null) return t("waiting");
  return isWired ? t("waitingPlain") : t("noModels");
}
