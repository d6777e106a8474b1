import assert from "node:assert/strict";
import { test } from "node:test";

import { blockRules, curveChoices, describe, writeRules } from "../../web/js/table/block_weights.mjs";
import { layersAdvice } from "../../web/js/table/layers_advice.mjs";
import { blockName, expanded, lastOutputBlock, sdBlocks } from "../../web/js/table/sd_blocks.mjs";

const dit = ["x_embedder", "final_layer", "joint_blocks.0", "joint_blocks.1"];
const ditKeys = dit.flatMap((block) => [`${block}.attn.qkv.weight`, `${block}.mlp.weight`]);
const model = (blocks, names) => ({
  names,
  keys: names,
  blocks,
  blockOf: names.map((key) => blocks.findIndex((block) => key.startsWith(`${block}.`))),
  block_of: names.map((key) => blocks.findIndex((block) => key.startsWith(`${block}.`))),
});
const DIT = model(dit, ditKeys);
const unet = [
  "time_embed",
  "out",
  "middle_block.0",
  ...[...Array(12).keys()].flatMap((i) => [`input_blocks.${i}`, `output_blocks.${i}`]),
];
const UNET = model(
  unet,
  unet.map((block) => `${block}.weight`),
);

test("a pattern that matches nothing is an error with what was meant", () => {
  const advice = (text, names = DIT) => layersAdvice(text, names);
  assert.equal(advice("joint_blocks.0=0.5, default=0"), null);
  assert.deepEqual(advice("defualt=1"), {
    code: "layersNoMatchTry",
    tone: "error",
    part: "defualt",
    suggestion: "default",
  });
  assert.equal(advice("join_blocks.1=1")?.suggestion, "joint_blocks.1");
  assert.deepEqual(advice("zzzzzz=1"), { code: "layersNoMatch", tone: "error", part: "zzzzzz", suggestion: "" });
  assert.equal(advice("IN12=1", UNET)?.suggestion, "IN00-11, M00, OUT00-11");
  assert.equal(advice("BASE=1, IN00=0", UNET), null);
  assert.equal(advice("a=x")?.code, "layersWeight");
  assert.equal(layersAdvice("defualt=1", null), null);
});

test("a rule that an earlier one leaves nothing is named", () => {
  assert.deepEqual(layersAdvice("*attn*=0, *=1, joint_blocks.0=0", DIT), {
    code: "layersShadowed",
    tone: "warning",
    part: "joint_blocks.0",
    earlier: "*attn*",
  });
});

test("names of U-Net blocks stand for the field's blocks", () => {
  assert.deepEqual(sdBlocks("in04-7"), { kind: "IN", low: 4, high: 7 });
  assert.deepEqual(sdBlocks("MID"), { kind: "M", low: 0, high: 0 });
  assert.equal(sdBlocks("joint_blocks.0"), null);
  const last = lastOutputBlock(unet);
  assert.deepEqual(
    [blockName("time_embed", last), blockName("out", last)],
    [
      ["IN", 0],
      ["OUT", 11],
    ],
  );
  assert.equal(lastOutputBlock(dit), null);
});

test("26 numbers, 19 numbers and names of curves are written out", () => {
  const numbers = Array.from({ length: 26 }, (_, i) => i / 26).join(",");
  assert.match(expanded(numbers), /^BASE=0, IN00=.*OUT11=0\.96/);
  assert.match(expanded(Array(19).fill("0.5").join(" ")), /^IN00=0\.5, .*M00=0\.5, .*OUT08=0\.5$/);
  assert.equal(expanded("1, 2, 3"), "1, 2, 3");
  assert.match(expanded("grad-v"), /^IN00=1, IN01=0\.9167, .*M00=0, .*OUT11=1$/);
  assert.match(expanded("COSINE"), /^IN00=1, IN01=0\.9957, .*M00=0\.5, .*OUT11=0$/);
});

test("step curves are the published ones", () => {
  const curve = (name) =>
    curveChoices(unet)
      .find((item) => item.name === name)
      ?.text.split(", ")
      .map((pair) => Number(pair.split("=")[1]));
  const zeros = (count) => Array(count).fill(0);
  const ones = (count, weight = 1) => Array(count).fill(weight);
  assert.deepEqual(curve("WRAP08"), [...ones(4), ...zeros(17), ...ones(4)]);
  assert.deepEqual(curve("RING08_5"), [...zeros(6), ...ones(4), ...zeros(5), ...ones(4), ...zeros(6)]);
  assert.deepEqual(curve("MID12_50"), [...zeros(5), ...ones(14, 0.5), ...zeros(6)]);
  assert.equal(curveChoices(unet).find((item) => item.name === "ALL")?.text, "");
});

test("blocks stand in order, with counts, energies and their weights", () => {
  const found = describe(
    "joint_blocks.0=0.5, *mlp*=0",
    DIT,
    Float64Array.from(ditKeys, (_, k) => k),
  );
  assert.deepEqual(
    found.blocks.map((block) => block.id),
    ["x_embedder", "joint_blocks.0", "joint_blocks.1", "final_layer"],
  );
  const [, first, second] = found.blocks;
  assert.deepEqual([first.weight, first.tensors, first.energy], [0.5, 2, 9]);
  assert.deepEqual([second.weight, second.mean], [null, 0.5]);
  assert.deepEqual([found.groups.attention.tensors, found.groups.mlp.weight], [4, null]);
  assert.deepEqual(
    describe("", UNET, null)
      .blocks.map((block) => block.name)
      .slice(0, 3),
    ["IN00", "IN00 time_embed", "IN01"],
  );
});

test("a slider writes the shortest rule and takes it back", () => {
  const set = (text, value) => blockRules(text, "joint_blocks.0", "joint_blocks.0", value, DIT);
  assert.equal(set("", 0.5), "joint_blocks.0=0.5");
  assert.equal(set("joint_blocks.0=0.5, default=0", 0.25), "joint_blocks.0=0.25, default=0");
  assert.equal(set("joint_blocks.0=0.5", 1), "");
  assert.equal(set("*attn*=0, default=0.5", 1), "*attn*=0, joint_blocks.0=1, default=0.5");
  assert.equal(set("not a pair", 0.5), "joint_blocks.0=0.5");
  assert.equal(blockRules("", "input_blocks.4", "IN04", 0, UNET), "IN04=0");
  assert.equal(blockRules("GRAD_V", "middle_block.0", "M00", 0.5, UNET).includes("M00=0.5"), true);
  assert.equal(writeRules("joint_blocks.0=0.5", "*attn*", 0, dit), "*attn*=0, joint_blocks.0=0.5");
  assert.equal(writeRules("*attn*=0", "*attn*", 1, dit), "");
});
