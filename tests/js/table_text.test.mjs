import assert from "node:assert/strict";
import { test } from "node:test";

import { readNumber } from "../../web/js/parts/numbers.mjs";
import { fromText, toJson, toTsv } from "../../web/js/table/text.mjs";

const ROWS = [
  { enabled: true, model: "detail", delta_from: "base", alpha: 0.5, repeat: 2, layers: "a=1,b=0", info: "why" },
  { enabled: false, model: "flash", delta_from: "detail", alpha: -1, repeat: 1, layers: "" },
];
const bare = ROWS.map(({ info: _, ...row }) => row);

test("TSV round trip", () => assert.deepEqual(fromText(toTsv(ROWS)), { rows: bare, problems: [] }));

test("JSON round trip with options", () => {
  const text = toJson(ROWS, "orthomerge", { damping: 0 });
  assert.deepEqual(fromText(text), { rows: bare, options: { orthomerge: { damping: 0 } }, problems: [] });
});

test("a recipe's flat options go to its method", () => {
  const text = JSON.stringify({ rows: [{ model: "a" }], method: "slerp", options: { slerp_axis: "row" } });
  assert.deepEqual(fromText(text).options, { slerp: { slerp_axis: "row" } });
});

test("two columns are model and alpha, decimal comma included", () => {
  const { rows } = fromText("a\t0,5\nb\t−1");
  assert.deepEqual(
    rows.map((r) => [r.model, r.alpha]),
    [
      ["a", 0.5],
      ["b", -1],
    ],
  );
});

test("header in any order and case", () => {
  const { rows } = fromText("Alpha\tModel\tDelta From\r\n2\ta\tb\r\n");
  assert.deepEqual([rows[0].alpha, rows[0].model, rows[0].delta_from], [2, "a", "b"]);
});

test("unreadable cells are reported with their line", () => {
  const { rows, problems } = fromText("model\talpha\na\t9\n\t1\nb\tmany");
  assert.deepEqual(
    rows.map((r) => [r.model, r.alpha]),
    [
      ["a", 1],
      ["b", 1],
    ],
  );
  assert.deepEqual(
    problems.map((p) => [p.line, p.column]),
    [
      [2, "alpha"],
      [3, "model"],
      [4, "alpha"],
    ],
  );
});

test("broken JSON and nothing at all", () => {
  assert.equal(fromText("{").problems.length, 1);
  assert.deepEqual(fromText(""), { rows: [], problems: [] });
});

test("numbers", () => {
  assert.equal(readNumber(" 1.50 "), 1.5);
  for (const word of ["", "1e3", "0x10", "1.2.3", "Infinity", "one"]) assert.ok(Number.isNaN(readNumber(word)));
});
