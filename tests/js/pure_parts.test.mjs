import assert from "node:assert/strict";
import { test } from "node:test";

import { failureOf, onFailure, watchFailures, watchNode } from "../../web/js/comfy/failures.mjs";
import { formula } from "../../web/js/table/formula.mjs";
import { fileNote, readNames, writeNames } from "../../web/js/faces/model_names.mjs";
import { layersTrouble } from "../../web/js/table/layers.mjs";
import { filterItems, groupByFolder, splitFolder } from "../../web/js/parts/names.mjs";
import { isLinked, mixContext, recall, remember, upstream } from "../../web/js/comfy/payloads.mjs";

const row = (model, delta_from, alpha = 1, more = {}) => ({
  enabled: true,
  model,
  delta_from,
  alpha,
  repeat: 1,
  layers: "",
  ...more,
});

test("formula: sums, means and named methods", () => {
  const rows = [row("a", "base"), row("x/b", "a", -0.5, { repeat: 2 }), row("c", "base", 1, { enabled: false })];
  assert.equal(formula(rows, { method: "task_arithmetic" }), "W = base + (a − base) − 2 × 0.5 · (b − a)");
  assert.equal(formula(rows, { method: "average" }), "W = base + [(a − base) − 2 × 0.5 · (b − a)] ∕ 3");
  assert.equal(formula(rows, { method: "orthomerge" }), "W = base + orthomerge((a − base), −2 × 0.5 · (b − a))");
});

test("formula: nothing on, negative first, layers, texture", () => {
  assert.equal(formula([], { method: "average" }), "W = base");
  assert.equal(
    formula([row("a", "base", -1, { layers: "x=0" })], {
      method: "task_arithmetic",
      textureModel: "t",
      textureAlpha: 0.2,
    }),
    "W = base − (a − base) ∘ layers + 0.2 · Δt",
  );
});

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

/** A node with wires, as far as the payload module looks. */
function node(inputs = {}, more = {}) {
  return {
    graph: {},
    properties: {},
    inputs: Object.entries(inputs).map(([name, source]) => ({ name, link: source ? 1 : null })),
    getInputNode: (slot) => Object.values(inputs)[slot] ?? null,
    ...more,
  };
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
        { text: "w", enable: ["c"] },
        { text: "plain", enable: [] },
      ],
    ],
  );
});

test("without a wire there is no proposal, but names", () => {
  const mixer = node({ models: null, mix: null });
  remember(mixer, mix("a"));
  assert.deepEqual([mixContext(mixer, {}).proposal, mixContext(mixer, {}).names], [[], ["a"]]);
  assert.equal(isLinked(mixer, "mix"), false);
});

test("virtual reroutes are followed, a removed node has no upstream", () => {
  const source = node();
  const reroute = node({ "": source }, { isVirtualNode: true });
  assert.equal(upstream(node({ mix: reroute }), "mix"), source);
  assert.equal(upstream(node({ mix: source }, { graph: null }), "mix"), null);
});

test("a reload finds the payload in the workflow; large figures stay out of it", () => {
  const saved = node();
  const payload = { ...mix("a").orthomerge[0], forecast: { data: "x".repeat(70_000) } };
  remember(saved, { orthomerge: [payload] });
  assert.equal(saved.properties.orthomerge.payload.forecast, undefined);
  assert.equal(recall({ id: 1, properties: saved.properties }, {}).payload.names[0], "a");
  assert.equal(recall({ id: 1 }, { nodeOutputs: { 1: mix("b") } }).payload.names[0], "b");
  assert.equal(recall({ id: 2 }, {}), null);
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
