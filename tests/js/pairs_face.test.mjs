import assert from "node:assert/strict";
import { test } from "node:test";

import { shortCosine } from "../../web/js/faces/pairs.mjs";

test("cosines in two digits, without what a narrow cell has no room for", () => {
  const cases = [
    [0.934, ".93"],
    [-0.12, "−.12"],
    [1, "1"],
    [-0.999, "−1"],
    [0.001, "0"],
    [-0.004, "0"],
    [0.05, ".05"],
  ];
  for (const [value, text] of cases) assert.equal(shortCosine(value), text);
});
