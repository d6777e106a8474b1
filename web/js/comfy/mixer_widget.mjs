/** OrthoMixer's table as a DOM widget: the bridge between ComfyUI's node and the view. */
import { rowFigures } from "../forecast/figures.mjs";
import { el, focusedKey, focusKey } from "../parts/dom.mjs";
import { offer } from "../parts/toast.mjs";
import { t } from "../parts/words.mjs";
import { writeInFull } from "../table/model.mjs";
import { withSuggestions } from "../table/options.mjs";
import { presetStore } from "../table/presets.mjs";
import { takeRecipe } from "../table/take_cell.mjs";
import { createTableView } from "../table/view.mjs";
import { mixContext } from "./context.mjs";
import { adoptPlace, commitEdit, lookAt, markRenderer, oncePerFrame, onRemoved, runHistory, say } from "./edits.mjs";
import { failureOf, forgetFailure } from "./failures.mjs";
import { isOff } from "./graph.mjs";
import { syncWords } from "./locale.mjs";
import { forget, placeOf } from "./results.mjs";
import { readOpen, writeOpen } from "./storage.mjs";

const SIZE = { width: 760, least: 260, most: 720 };
/** Undo makes the node anew: this is where the focus was. */
let focusAfterHistory = null;

export function mixerWidget({ app, api, views, node, name, data }) {
  const options = data[1] ?? {};
  const abort = new AbortController();
  const frame = el("div.om-frame", {});
  let value = options.default ?? "";
  let view = null;
  const widget = node.addDOMWidget(name, "ORTHOMERGE_TABLE", frame, {
    getValue: () => value,
    setValue: (next) => {
      value = next === null || next === undefined ? "" : String(next);
      view?.refresh();
    },
    getMinHeight: () => SIZE.least,
    hideOnZoom: false,
    socketless: true,
    margin: 6,
  });
  const owner = () => widget.node ?? node;
  const host = tableHost({ app, api, options, widget, owner, frame, getValue: () => value, getView: () => view });
  view = createTableView(host, abort.signal);
  widget.takeRecipe = (recipe) => takeRecipe(view, recipe);
  // rows of an earlier run that no optimizer stands behind any more are sent as they are shown
  widget.serializeValue = () => (host.context().isDetached ? writeInFull(view.state) : value);
  const before = widget.beforeQueued;
  widget.beforeQueued = function queued(how) {
    before?.apply(this, arguments);
    if (!how?.isPartialExecution) tellWrongTable(app, owner(), view);
  };
  frame.append(view.root);
  views.add(view);
  onRemoved(widget, "onRemove", () => {
    abort.abort();
    views.delete(view);
  });
  adoptPlace("table", node, frame);
  requestAnimationFrame(() => {
    Object.assign(host.cosmetic, readOpen(placeOf(owner())));
    follow(owner(), view);
    setTimeout(() => restoreFocus(owner(), view), 150);
  });
  return { widget, minWidth: SIZE.width, minHeight: SIZE.least };
}

/** @returns {import("../table/types").Host} */
function tableHost({ app, api, options, widget, owner, frame, getValue, getView }) {
  const other = (key) => owner().widgets?.find((item) => item.name === key);
  /** @type {import("../table/types").Host} */
  const host = {
    getValue,
    commit: (next) => {
      forgetFailure(owner());
      commitEdit(app, widget, owner(), next);
    },
    context: () => {
      syncWords(app);
      markRenderer(frame);
      return /** @type {any} */ ({ ...mixContext(owner(), app), failure: failureOf(owner()) });
    },
    method: () => String(other("method")?.value ?? ""),
    methods: () => options.orthomerge?.methods ?? {},
    texture: () => ({
      model: String(other("texture_model")?.value ?? ""),
      alpha: Number(other("texture_alpha")?.value ?? 0),
    }),
    applyMethod: (method) => setWidget(other("method"), method),
    parts: () => ({
      vae: String(other("vae")?.value || "base"),
      prediction: String(other("prediction")?.value ?? "").replace(/^auto$/, ""),
    }),
    takeOver: (taken, table) => {
      forgetFailure(owner());
      const { method, texture, vae, prediction } = taken;
      const values = { method, texture_model: texture.model, texture_alpha: texture.alpha, vae, prediction };
      commitEdit(app, widget, owner(), table, () => {
        for (const [key, next] of Object.entries(values)) setWidget(other(key), next);
      });
    },
    setPart: (part, next) => {
      const choice = other(part);
      if (!choice) return;
      forgetFailure(owner());
      commitEdit(app, choice, owner(), next);
      choice.callback?.(next);
      getView().refresh();
    },
    figures: (rows, method, chosen) =>
      rowFigures(
        mixContext(owner(), app).forecast,
        rows,
        { name: method, ...host.methods()[method] },
        chosen,
        host.texture(),
      ),
    say: (text, severity) => say(app, text, severity),
    history: (step) => {
      focusAfterHistory = { id: String(owner().id), key: focusedKey(getView().root), time: performance.now() };
      if (step) runHistory(app, step);
    },
    presets: presetStore(api),
    cosmetic: {},
    keepCosmetic: () => writeOpen(placeOf(owner()), { optionsOpen: host.cosmetic.optionsOpen === true }),
    forget: () => {
      forget(owner());
      getView().refresh();
    },
    resized: oncePerFrame(() => grow(owner(), frame, getView())),
  };
  return host;
}

/** A run that cannot get past this table says so where the person looks, with a way to the row. */
function tellWrongTable(app, node, view) {
  const wrong = view.notices.find((notice) => notice.tone === "error" && notice.code !== "failure");
  if (!wrong || isOff(node)) return;
  const name = view.state.entries[wrong.row]?.row.model;
  offer({
    title: t("tableWrong", { node: node.title }),
    text: name ? `${t("row", { number: wrong.row + 1 })} (${name}): ${wrong.text}` : wrong.text,
    label: t("goThere"),
    onClick: () => {
      lookAt(app, node);
      if (wrong.row >= 0) requestAnimationFrame(() => view.act.goTo(wrong.row));
    },
  });
}

function setWidget(widget, value) {
  if (!widget || widget.value === value) return;
  widget.value = value;
  widget.callback?.(value);
}

/** The table shows these where they matter; by themselves they would be two lines that most never need. */
const PARTS = ["vae", "prediction"];

/** Older frontends lay out hidden widgets as well, a margin of 4 below each. */
function hide(widget) {
  if (!widget) return;
  widget.hidden = true;
  widget.computeLayoutSize = undefined;
  widget.computeSize = () => [0, -4];
  widget.options = { ...widget.options, hidden: true };
}

/** Redraws when another widget of the node or a wire changes. */
function follow(node, view) {
  let chosen = node.widgets?.find((item) => item.name === "method")?.value;
  for (const key of PARTS) hide(node.widgets?.find((item) => item.name === key));
  for (const key of ["method", "texture_model", "texture_alpha"]) {
    const widget = node.widgets?.find((item) => item.name === key);
    if (!widget) continue;
    const before = widget.callback;
    widget.callback = function changed() {
      const answer = before?.apply(this, arguments);
      view.refresh();
      if (key === "method" && widget.value !== chosen) suggest(view, widget.value);
      if (key === "method") chosen = widget.value;
      return answer;
    };
  }
  view.refresh();
}

/** A method that is chosen anew states what it suggests; one that a workflow brought is left as it is. */
function suggest(view, method) {
  const next = withSuggestions(view.state, method, view.host.methods()[method]?.params ?? []);
  if (next !== view.state && !view.isBroken) view.act.change(next);
}

/** Gives the focus back as soon as the page shows the new table, unless the person is elsewhere by then. */
function restoreFocus(node, view) {
  const wanted = focusAfterHistory;
  const { activeElement: active, body } = document;
  if (!wanted?.key || wanted.id !== String(node.id) || performance.now() - wanted.time > 10_000) return;
  if (active && active !== body && !view.root.contains(active) && active.tagName !== "CANVAS") return;
  if (focusKey(view.root, wanted.key) && view.root.contains(document.activeElement)) focusAfterHistory = null;
  else requestAnimationFrame(() => restoreFocus(node, view));
}

/** Makes room for all rows when their number changes, up to a screenful; never takes room away. */
function grow(node, frame, view) {
  if (!frame.isConnected || !node.graph) return;
  const table = frame.querySelector(".om-table");
  if (!table) return;
  const area = frame.querySelector(".om-scroll");
  const wanted = Math.min(SIZE.most, frame.scrollHeight - area.clientHeight + table.offsetHeight + 4);
  const marks = `${view.state.entries.length}:${view.host.cosmetic.optionsOpen === true}`;
  const isFirst = view.grown === undefined; // as it was saved, or as undo brought it back
  if (view.grown === marks) return;
  view.grown = marks;
  if (isFirst) return;
  const lack = wanted - frame.clientHeight;
  if (lack > 0) node.setSize([Math.max(node.size[0], SIZE.width), node.size[1] + lack]);
}
