import assert from "node:assert/strict";
import { test } from "node:test";

import { modelNames } from "../../web/js/faces/model_names.mjs";
import { ascii } from "../../web/js/parts/ascii.mjs";
import { worded } from "../../web/js/parts/messages.mjs";
import { sortNames } from "../../web/js/parts/names.mjs";
import { evaluate, percent, readNumber, shortNumber, showNumber } from "../../web/js/parts/numbers.mjs";
import { useWords } from "../../web/js/parts/words.mjs";
import { makeState, readTable, setCell, write } from "../../web/js/table/model.mjs";
import { isActive } from "../../web/js/table/rules.mjs";
import { textAlphas } from "../../web/js/table/text_alphas.mjs";
import { fromText } from "../../web/js/table/text.mjs";

test("arithmetic and percentages are worked out", () => {
  const cases = {
    "0.5+0.25": 0.75,
    "50 %": 0.5,
    "50%": 0.5,
    "1/4": 0.25,
    "2*(0,5-1)": -1,
    "−0.5": -0.5,
    "1e-3": 0.001,
    "10%+5%": 0.15,
  };
  for (const [text, value] of Object.entries(cases)) assert.ok(Math.abs(evaluate(text) - value) < 1e-12, text);
  for (const text of ["", "abc", "1+", "(1", "1)", "1 2", "%", "1/0", "1..2"])
    assert.ok(Number.isNaN(evaluate(text)), text);
});

test("small numbers keep their digits", () => {
  assert.deepEqual(
    [showNumber(0.0005), showNumber(1), showNumber(0.1), showNumber(-0.00005)],
    ["0.0005", "1.00", "0.10", "-0.00005"],
  );
  assert.deepEqual([shortNumber(0.0005), percent(-0.1234), percent(1.414, 0)], ["0.0005", "−12.3 %", "141 %"]);
  assert.equal(readNumber("0,25"), 0.25);
});

test("a pasted number out of range says which range", () => {
  assert.deepEqual(fromText("model\talpha\nink\t7").problems, [
    { line: 2, column: "alpha", value: "7", reason: "pasteRange" },
  ]);
});

test("a table is written as ASCII and read back", () => {
  const table = readTable(JSON.stringify({ version: 1, rows: [{ model: "模型 −", alpha: 0.5, touched: ["alpha"] }] }));
  const text = write(makeState(table, [], []));
  assert.match(text, /^[\x20-\x7e]+$/);
  assert.deepEqual(readTable(text), table);
  assert.equal(JSON.parse(ascii('"😀"')), "😀");
});

test("models are named as the core names them", () => {
  assert.deepEqual(modelNames(["a/x.safetensors", "y-00001-of-00002.safetensors", "base.gguf"]), [
    "x",
    "y",
    "base.gguf",
  ]);
  assert.deepEqual(modelNames(["a/x.sft", "b/x.sft", "c/x.gguf"]), ["a/x", "b/x", "x.gguf"]);
});

test("names are sorted by stem and number", () => {
  assert.deepEqual(sortNames(["ink-fine.safetensors", "ink.safetensors", "v10.sft", "v9.sft"]), [
    "ink.safetensors",
    "ink-fine.safetensors",
    "v9.sft",
    "v10.sft",
  ]);
});

test("messages are worded from code and values, else as they came", () => {
  const message = {
    code: "x.y",
    values: { count: 1, share: 0.256, keys: ["a", "b", "c", "d", "e", "f"] },
    text: "English",
  };
  assert.equal(worded(message), "English");
  useWords({ de: { orthomergeMessages: { "x.y": "{count:# Tensor|# Tensoren}, {share:.0%}: {keys:names}" } } }, "de");
  assert.equal(worded(message), "1 Tensor, 26 %: a, b, c, d, e +1");
  assert.equal(worded({ code: "x.y", values: {}, text: "English" }), "English");
  useWords({}, "en");
  assert.deepEqual([worded("plain"), worded(null)], ["plain", ""]);
});

test("the text encoders' alpha is empty, a number or a pair", () => {
  const read = (text) => readTable(JSON.stringify({ rows: [{ model: "a", text }] })).rows[0].row.text;
  assert.deepEqual(
    [read(null), read(""), read(0.3), read("0.3"), read([0.3, 0.6]), read("0.3/0.6")],
    [undefined, undefined, 0.3, 0.3, "0.3/0.6", "0.3/0.6"],
  );
  for (const text of [9, "a", "1/2/3", [1], "0.3/"]) assert.throws(() => read(text), /bad_cell/, String(text));
  const state = makeState(readTable(""), [], ["a"]);
  assert.deepEqual(JSON.parse(write(setCell(state, 0, "text", "0.3/0.6"))).rows[0], {
    enabled: true,
    model: "a",
    delta_from: "base",
    alpha: 1,
    repeat: 1,
    layers: "",
    text: "0.3/0.6",
    touched: ["text"],
  });
  assert.equal(isActive({ enabled: true, alpha: 0, text: 0.5 }), true);
  assert.equal(isActive({ enabled: true, alpha: 0 }), false);
  assert.deepEqual(
    [textAlphas({ alpha: 1 }), textAlphas({ alpha: 1, text: 0 }), textAlphas({ alpha: 1, text: "0.3/0.6" })],
    [
      [1, 1],
      [0, 0],
      [0.3, 0.6],
    ],
  );
});
