import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { failureOf, onFailure, watchFailures, watchNode } from "../../web/js/comfy/failures.mjs";
import { formula } from "../../web/js/table/formula.mjs";
import { fileNote, readNames, writeNames } from "../../web/js/faces/model_names.mjs";
import { layersTrouble } from "../../web/js/table/layers.mjs";
import { filterItems, groupByFolder, splitFolder } from "../../web/js/parts/names.mjs";
import { mixContext } from "../../web/js/comfy/context.mjs";
import { isLinked, upstream } from "../../web/js/comfy/graph.mjs";
import { carryWithCopies, noteAsked, recall, remember, takeCarried, traceOf } from "../../web/js/comfy/results.mjs";
import { changes } from "../../web/js/comfy/trace.mjs";

const row = (model, delta_from, alpha = 1, more = {}) => ({
  enabled: true,
  model,
  delta_from,
  alpha,
  repeat: 1,
  layers: "",
  ...more,
});

for (const item of JSON.parse(readFileSync(new URL("../fixtures/formula_cases.json", import.meta.url), "utf8"))) {
  test(`formula: ${item.name}`, () => {
    const { method, texture_model: textureModel, texture_alpha: textureAlpha, strength } = item;
    assert.equal(formula(item.rows, { method, textureModel, textureAlpha, strength }), item.line);
  });
}

test("names: folders, filters, groups", () => {
  assert.deepEqual(splitFolder("a\\b/c"), ["a\\b", "c"]);
  const items = ["z/one", "two", "z/Two", "a/three"].map((name) => ({ name }));
  assert.deepEqual(
    groupByFolder(items).map((i) => i.name),
    ["two", "z/one", "z/Two", "a/three"],
  );
  assert.deepEqual(
    filterItems(items, " tWo z").map((i) => i.name),
    ["z/Two"],
  );
});

test("layers: what cannot be read is named", () => {
  assert.equal(layersTrouble("a.0-9=0.5, *attn*=0\ndefault=-1,"), null);
  assert.deepEqual(layersTrouble("a=1, b"), { code: "layersPair", part: "b" });
  assert.deepEqual(layersTrouble("a=x"), { code: "layersWeight", part: "a=x" });
  assert.deepEqual(layersTrouble("a.9-1=2"), { code: "layersRange", part: "9-1" });
});

test("the model list is a plain string, one name a line", () => {
  assert.deepEqual(readNames(" a \r\n\nb\na"), ["a", "b"]);
  assert.deepEqual(readNames(null), []);
  assert.equal(writeNames(["a", "b"]), "a\nb");
});

/** A graph as ComfyUI holds it, as far as the browser side looks: nodes by id, links by id. */
function graph(id = "g") {
  const nodes = new Map();
  const links = new Map();
  return {
    id,
    nodes: [],
    getNodeById: (key) => nodes.get(key) ?? null,
    getLink: (key) => links.get(key) ?? null,
    add(item) {
      item.id = nodes.size + 1;
      nodes.set(item.id, item);
      this.nodes.push(item);
      item.graph = this;
      return item;
    },
    link(from, to, slot, origin = 0) {
      links.set(links.size + 1, { origin_id: from.id, origin_slot: origin, type: "T" });
      to.inputs[slot].link = links.size;
    },
  };
}
let graphs = 0;

/** A node with wires. */
function node(inputs = {}, more = {}) {
  const home = Object.values(inputs).find(Boolean)?.graph ?? graph(`g${(graphs += 1)}`);
  const made = {
    properties: {},
    widgets: [],
    mode: 0,
    title: "node",
    inputs: Object.keys(inputs).map((name) => ({ name, type: "T", link: null })),
    ...more,
  };
  home.add(made);
  Object.values(inputs).forEach((source, slot) => source && home.link(source, made, slot));
  return made;
}
const mix = (model) => ({
  orthomerge: [
    {
      kind: "mix",
      names: [model],
      proposal: [row(model, "base")],
      warnings: [{ text: "w", suggestion: { action: "enable", models: ["c"] } }, "plain"],
    },
  ],
});

test("a mixer listens to whoever spoke last, itself or the optimizer above", () => {
  const optimizer = node();
  const mixer = node({ models: null, mix: optimizer });
  assert.equal(mixContext(mixer, {}).proposal, null);
  remember(optimizer, mix("a"));
  assert.equal(mixContext(mixer, {}).proposal[0].model, "a");
  remember(mixer, mix("b"));
  assert.deepEqual(
    [mixContext(mixer, {}).proposal[0].model, mixContext(mixer, {}).warnings],
    [
      "b",
      [
        { kind: "", text: "w", models: [], enable: ["c"] },
        { kind: "", text: "plain", models: [], enable: [] },
      ],
    ],
  );
});

test("a mixer without an optimizer shows its rows as they last were", () => {
  const mixer = node({ models: null, mix: null });
  assert.deepEqual([mixContext(mixer, {}).proposal, mixContext(mixer, {}).isDetached], [[], false]);
  remember(mixer, mix("a"));
  const { proposal, isDetached, names, warnings } = mixContext(mixer, {});
  assert.deepEqual([proposal[0].model, isDetached, names, warnings], ["a", true, ["a"], []]);
  assert.equal(isLinked(mixer, "mix"), false);
});

test("virtual reroutes and bypassed nodes are passed through, muted ones end a wire", () => {
  const source = node();
  const reroute = node({ "": source }, { isVirtualNode: true });
  assert.equal(upstream(node({ mix: reroute }), "mix"), source);
  assert.equal(upstream(node({ mix: node({ in: source }, { mode: 4 }) }), "mix"), source);
  assert.equal(upstream(node({ mix: node({ in: source }, { mode: 2 }) }), "mix"), null);
  const removed = node({ mix: source });
  removed.graph = null;
  assert.equal(upstream(removed, "mix"), null);
});

test("a bypassed optimizer is no optimizer", () => {
  const optimizer = node();
  const mixer = node({ models: null, mix: optimizer });
  remember(optimizer, mix("a"));
  remember(mixer, mix("a"));
  optimizer.mode = 4;
  assert.equal(mixContext(mixer, {}).isDetached, true);
});

test("names of a set are there before any run", () => {
  const widgets = [{ name: "models", value: "x/ink.safetensors\nphoto.safetensors\ny/ink.safetensors" }];
  const set = node({}, { widgets });
  assert.deepEqual(
    mixContext(node({ models: set, mix: null }), {}).names,
    ["ink.safetensors", "photo", "ink.safetensors"].map((n, i) => (i === 1 ? n : ["x/ink", "", "y/ink"][i])),
  );
});

test("nothing of a result is kept in the node", () => {
  const saved = node();
  remember(saved, mix("a"));
  assert.deepEqual(saved.properties, {});
  assert.equal(recall({ id: 1 }, { nodeOutputs: { 1: mix("b") } }).payload.names[0], "b");
  assert.equal(recall({ id: 2 }, {}), null);
});

test("a node made anew in the same place finds its result", () => {
  const before = node({}, { comfyClass: "OrthoMixer" });
  remember(before, mix("a"));
  const after = { ...before };
  assert.equal(recall(after, {}).payload.names[0], "a");
});

test("a copy takes its rows along as ASCII and gives them back", () => {
  const serialized = (item) => {
    const data = { properties: { ...item.properties } };
    item.onSerialize?.(data);
    return data;
  };
  const source = node({}, { clone: () => ({ properties: {} }) });
  remember(source, mix("模型−a"));
  carryWithCopies(source);
  const data = serialized(source.clone());
  assert.equal(/^[\x20-\x7e]*$/.test(JSON.stringify(data)), true);
  assert.deepEqual(serialized(source).properties, {});
  const pasted = node({ models: null, mix: null }, data);
  takeCarried(pasted);
  assert.deepEqual(pasted.properties, {});
  assert.deepEqual(
    mixContext(pasted, {}).proposal.map((r) => r.model),
    ["模型−a"],
  );
});

test("a workflow of the first release still brings its rows", () => {
  const old = node({ models: null, mix: null }, { properties: { orthomerge: { payload: mix("a").orthomerge[0] } } });
  takeCarried(old);
  assert.deepEqual([recall(old, {}).payload.names, old.properties], [["a"], {}]);
});

test("what changed since a run is named: widgets, wires, bypass, nodes", () => {
  const set = node({}, { title: "Set", widgets: [{ name: "models", value: "a" }] });
  const merge = node({ models: set, extra: null }, { title: "Merge", widgets: [{ name: "method", value: "x" }] });
  const before = traceOf(merge);
  assert.deepEqual(changes(before, traceOf(merge)), []);
  set.widgets[0].value = "a\nb";
  assert.deepEqual(changes(before, traceOf(merge)), [{ title: "Set", what: ["models"] }]);
  set.widgets[0].value = "a";
  merge.mode = 4;
  assert.deepEqual(changes(before, traceOf(merge)), [{ title: "Merge", what: ["mode"] }]);
  merge.mode = 0;
  set.mode = 2;
  assert.deepEqual(
    changes(before, traceOf(merge)).map(({ title, what }) => [title, what]),
    [
      ["Merge", ["models"]],
      ["Set", ["node"]],
    ],
  );
});

test("a result is of the graph as it was queued, not as it is when the answer comes", () => {
  const merge = node({}, { widgets: [{ name: "method", value: "x" }] });
  noteAsked([merge]);
  merge.widgets[0].value = "y";
  remember(merge, mix("a"));
  assert.deepEqual(changes(recall(merge, {}).trace, traceOf(merge)), [{ title: "node", what: ["method"] }]);
});

test("a failure belongs to one node until the next run starts", async () => {
  const heard = {};
  const toasts = [];
  watchFailures(
    {
      addEventListener: (type, listener) => {
        heard[type] = listener;
      },
    },
    (item, text) => toasts.push([item.id, text]),
  );
  const [mixer, other] = [
    { id: 7, comfyClass: "OrthoMixer" },
    { id: 8, comfyClass: "OrthoMixer" },
  ];
  const leave = watchNode(mixer);
  watchNode(other);
  const told = [];
  onFailure((item) => told.push(item.id));
  const fail = () =>
    heard.execution_error({ detail: { node_id: "3:7", node_type: "OrthoMixer", exception_message: "no. Do this.\n" } });
  fail();
  assert.deepEqual([failureOf(mixer), failureOf(other), told], ["no. Do this.", "", [7]]);
  heard.execution_start({});
  assert.deepEqual([failureOf(mixer), told], ["", [7, 7]]);
  leave();
  fail();
  assert.equal(failureOf(mixer), "");
  await new Promise((done) => {
    setTimeout(done, 500);
  });
  assert.deepEqual(toasts, [[7, "no. Do this."]]);
});

test("model list: size and date in a few characters", () => {
  const noon = Date.UTC(2026, 10, 30, 12) / 1000;
  assert.equal(fileNote({ bytes: 4018008, modified: noon }), "4.0 MB · 2026-11-30");
  assert.match(fileNote({ bytes: 6938040682, modified: noon }), /^6\.9 GB · /);
  assert.match(fileNote({ bytes: 999_600_000, modified: noon }), /^1\.0 GB · /);
  assert.match(fileNote({ bytes: 12, modified: noon }), /^12 B · /);
  assert.equal(fileNote({ bytes: 12, modified: 1e300 }), "12 B");
  assert.equal(fileNote({ name: "known by name only" }), "");
  assert.equal(fileNote(undefined), "");
});
