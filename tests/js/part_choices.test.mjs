import assert from "node:assert/strict";
import { test } from "node:test";
import {
  disagreeing,
  hasTextEncoders,
  hasVae,
  predictionChoices,
  vaeChoices,
} from "../../web/js/table/part_choices.mjs";
import { plainRow } from "../../web/js/table/rules.mjs";

const PARTS = {
  components: ["diffusion", "text_encoder.l", "vae"],
  vae: ["fine"],
  predictions: { base: "epsilon", fine: "epsilon", vee: "v" },
  vae_files: ["sharp.safetensors"],
};
const DIFFUSION = { components: ["diffusion"], vae: [], predictions: { base: "epsilon" }, vae_files: [] };

test("only checkpoints have parts to choose", () => {
  assert.ok(hasVae(PARTS) && hasTextEncoders(PARTS));
  for (const parts of [DIFFUSION, null]) assert.ok(!hasVae(parts) && !hasTextEncoders(parts));
});

test("only models that take part can disagree", () => {
  const rows = [plainRow("fine"), plainRow("vee")];
  assert.deepEqual(disagreeing(PARTS, rows), [
    { name: "base", words: "epsilon" },
    { name: "vee", words: "v" },
  ]);
  assert.deepEqual(disagreeing(PARTS, [rows[0], { ...rows[1], enabled: false }]), []);
  assert.equal(disagreeing(PARTS, [{ ...rows[0], delta_from: "vee" }]).length, 2);
  assert.deepEqual(disagreeing(null, rows), []);
});

test("a choice that the set no longer offers stays in its list", () => {
  const names = (list) => list.map((item) => item.name);
  assert.deepEqual(names(vaeChoices(PARTS, "fine")), ["base", "merge", "fine", "sharp.safetensors"]);
  assert.deepEqual(names(vaeChoices(DIFFUSION, "gone")), ["base", "merge", "gone"]);
  assert.deepEqual(names(predictionChoices(PARTS, "")), ["", "base", "epsilon", "v", "v+ztsnr", "vee"]);
  assert.equal(names(predictionChoices(null, "gone")).at(-1), "gone");
});
