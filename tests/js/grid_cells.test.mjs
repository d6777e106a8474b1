import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 } from "node:zlib";
import { pngTexts } from "../../web/js/parts/png_texts.mjs";
import { cellLabel, readGrid, takenFrom } from "../../web/js/table/grid_cells.mjs";

const RECIPE = {
  rows: [
    {
      model: "ink",
      alpha: 0.5,
      enabled: false,
      delta_from: "base",
      repeat: 2,
      layers: "",
      info: "x",
      text: [0.3, 0.6],
    },
    { model: "photo", alpha: 9 },
    { alpha: 1 },
  ],
  method: "ties",
  options: { density: 0.2 },
  texture_boost: { model: "ink", alpha: 0.1 },
  vae: { from: "merge" },
  prediction: "v",
  strength: 0.5,
};
const GRID = {
  version: 1,
  axes: [{ name: "alpha", labels: ["0", "1"] }],
  cells: [{ place: [0], labels: ["0"], recipe: RECIPE }],
};

const chunk = (kind, data) => {
  const body = Buffer.concat([Buffer.from(kind, "latin1"), data]);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(data.length);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32?.(body) ?? 0);
  return Buffer.concat([size, body, sum]);
};
const png = (...chunks) =>
  new Uint8Array(
    Buffer.concat([Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), ...chunks, chunk("IEND", Buffer.alloc(0))]),
  );

test("a recipe's choices become the mixer's; what a table cannot hold keeps its default", () => {
  const taken = takenFrom(RECIPE);
  assert.deepEqual(
    taken.rows.map(({ model, alpha, repeat, enabled, text }) => ({ model, alpha, repeat, enabled, text })),
    [
      { model: "ink", alpha: 0.5, repeat: 2, enabled: false, text: "0.3/0.6" },
      { model: "photo", alpha: 1, repeat: 1, enabled: true, text: undefined },
    ],
  );
  assert.deepEqual(taken.options, { ties: { density: 0.2 } });
  assert.deepEqual(
    [taken.method, taken.texture, taken.vae, taken.prediction, taken.strength],
    ["ties", { model: "ink", alpha: 0.1 }, "merge", "v", 0.5],
  );
  assert.equal(takenFrom({ rows: [] }).method, "orthomerge");
});

test("only grids of this version are read", () => {
  assert.deepEqual(readGrid(JSON.stringify(GRID)), GRID);
  for (const text of [
    "",
    "{",
    "[]",
    "null",
    '{"version": 2, "axes": [], "cells": []}',
    '{"version": 1, "axes": [], "cells": [{}]}',
  ]) {
    assert.equal(readGrid(text), null, text);
  }
  assert.equal(cellLabel(GRID.axes, GRID.cells[0]), "alpha 0");
});

test("the texts of a PNG, latin or not; nothing of anything else", () => {
  const latin = chunk("tEXt", Buffer.from('orthomerge.grid\0{"é": 1}', "latin1"));
  const wide = chunk("iTXt", Buffer.concat([Buffer.from("title\0\0\0\0\0", "latin1"), Buffer.from("合并", "utf8")]));
  const packed = chunk("iTXt", Buffer.from("other\0\x01\0\0\0xx", "latin1"));
  const whole = png(latin, wide, packed);
  assert.deepEqual(pngTexts(whole), { "orthomerge.grid": '{"é": 1}', title: "合并" });
  assert.deepEqual(pngTexts(whole.subarray(0, 60)), { "orthomerge.grid": '{"é": 1}' });
  assert.deepEqual(pngTexts(new Uint8Array([1, 2, 3])), {});
});
