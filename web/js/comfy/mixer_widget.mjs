/** OrthoMixer's table as a DOM widget: the bridge between ComfyUI's node and the view. */
import { el, focusedKey, focusKey } from "../parts/dom.mjs";
import { adoptPlace, commitEdit, markRenderer, oncePerFrame, onRemoved, runHistory, say } from "./edits.mjs";
import { failureOf, forgetFailure } from "./failures.mjs";
import { rowFigures } from "../forecast/figures.mjs";
import { syncWords } from "./locale.mjs";
import { mixContext } from "./payloads.mjs";
import { presetStore } from "../table/presets.mjs";
import { createTableView } from "../table/view.mjs";

const SIZE = { width: 660, least: 220, most: 720 };
/** Focus to restore when undo rebuilds the node: ComfyUI makes a new widget then. */
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
  const other = (key) => owner().widgets?.find((item) => item.name === key);
  const host = {
    getValue: () => value,
    commit: (next) => {
      forgetFailure(owner());
      commitEdit(app, widget, owner(), next);
    },
    context: () => {
      syncWords(app);
      markRenderer(frame);
      return { ...mixContext(owner(), app), failure: failureOf(owner()) };
    },
    method: () => String(other("method")?.value ?? ""),
    methods: () => options.orthomerge?.methods ?? {},
    texture: () => ({
      model: String(other("texture_model")?.value ?? ""),
      alpha: Number(other("texture_alpha")?.value ?? 0),
    }),
    applyMethod: (method) => setWidget(other("method"), method),
    figures: (rows, method, chosen) =>
      rowFigures(mixContext(owner(), app).forecast, rows, { name: method, ...host.methods()[method] }, chosen, host.texture()),
    say: (text, severity) => say(app, text, severity),
    history: (step) => {
      focusAfterHistory = {
        id: String(owner().id),
        key: focusedKey(view.root),
        time: performance.now(),
      };
      runHistory(app, step);
    },
    presets: presetStore(api),
    cosmetic: {},
    resized: oncePerFrame(() => grow(owner(), frame, view)),
  };
  view = createTableView(host, abort.signal);
  frame.append(view.root);
  views.add(view);
  onRemoved(widget, "onRemove", () => {
    abort.abort();
    views.delete(view);
  });
  adoptPlace("table", node, frame);
  requestAnimationFrame(() => {
    follow(owner(), view);
    setTimeout(() => restoreFocus(owner(), view), 150);
  });
  return { widget, minWidth: 420, minHeight: SIZE.least };
}

function setWidget(widget, value) {
  if (!widget || widget.value === value) return;
  widget.value = value;
  widget.callback?.(value);
}

/** Redraws when another widget of the node or a wire changes. */
function follow(node, view) {
  for (const key of ["method", "texture_model", "texture_alpha"]) {
    const widget = node.widgets?.find((item) => item.name === key);
    if (!widget) continue;
    const before = widget.callback;
    widget.callback = function changed() {
      const answer = before?.apply(this, arguments);
      view.refresh();
      return answer;
    };
  }
  const connections = node.onConnectionsChange;
  node.onConnectionsChange = function connected() {
    connections?.apply(this, arguments);
    view.refresh();
  };
  view.refresh();
}

function restoreFocus(node, view) {
  const wanted = focusAfterHistory;
  if (!wanted || wanted.id !== String(node.id) || performance.now() - wanted.time > 3000) return;
  focusAfterHistory = null;
  focusKey(view.root, wanted.key);
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
