import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { LayersError, parseLayers } from "../../web/js/table/layers.mjs";

const CASES = JSON.parse(readFileSync(new URL("../fixtures/layers.json", import.meta.url)));

for (const { text, key, block, weight } of CASES.weights) {
  test(`layers: ${JSON.stringify(text)} on ${key}`, () => {
    assert.equal(parseLayers(text).weight(key, block), weight);
  });
}

for (const text of CASES.errors) {
  test(`layers refuse ${JSON.stringify(text.slice(0, 20))}`, () => {
    assert.throws(() => parseLayers(text), LayersError);
  });
}

test("a long glob of stars stays quick", () => {
  const layers = parseLayers(`${"*a".repeat(40)}*b=0`);
  assert.equal(layers.weight("a".repeat(400), "x"), 1);
});
