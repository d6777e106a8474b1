import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { forecast as forecastOf } from "../../web/js/forecast/forecast.mjs";
import { FORMULAS } from "../../web/js/forecast/methods.mjs";
import { storedText } from "../../web/js/table/text_alphas.mjs";

const {
  reduced,
  reduced_parts: parts,
  methods,
  tables,
  cases,
  part_cases: partCases,
} = JSON.parse(readFileSync(new URL("../fixtures/forecast.json", import.meta.url)));

const forecast = (data, rows, name, ...more) => forecastOf(data, rows, { name, ...methods[name] }, ...more);

test("every formula that a method states is known here", () => {
  for (const [name, { forecast: rule }] of Object.entries(methods)) {
    if (rule?.formula) assert.ok(FORMULAS.includes(rule.formula), name);
  }
});

/** The same shape, numbers within rounding of the core's. */
function same(found, wanted, path = "") {
  if (typeof wanted === "number") {
    assert.ok(Math.abs(found - wanted) <= 1e-9 * Math.max(1, Math.abs(wanted)), `${path}: ${found} for ${wanted}`);
  } else if (wanted && typeof wanted === "object") {
    assert.deepEqual(Object.keys(found), Object.keys(wanted), path);
    for (const key of Object.keys(wanted)) same(found[key], wanted[key], `${path}.${key}`);
  } else assert.equal(found, wanted, path);
}

for (const { table, method, options, texture, forecast: wanted } of cases) {
  test(`${method} ${JSON.stringify(options)} on ${table}${texture ? " with texture" : ""}`, () => {
    same(forecast(reduced, tables[table], method, options, texture), wanted);
  });
}

for (const { table, method, options, texture, vae, forecast: wanted } of partCases) {
  test(`${method} on ${table} of a checkpoint, VAE ${vae}`, () => {
    const rows = tables[table].map((row) => ({ ...row, text: storedText(row.text ?? null) }));
    same(forecast(parts, rows, method, options, texture, vae), wanted);
  });
}

test("what is kept between calls changes no figure", () => {
  const once = (rows, method, options) => forecast(structuredClone(reduced), rows, method, options);
  const [first, second] = tables.chain;
  const edits = [
    [tables.chain, "orthogonal_projection", {}],
    [[{ ...first, alpha: 0.1 }, second], "orthogonal_projection", {}],
    [[{ ...first, layers: "blocks.1=0" }, second], "orthogonal_projection", {}],
    [[{ ...first, layers: "in=0" }, second], "orthogonal_projection", { variant: "symmetric" }],
    [[second, first], "orthogonal_projection", {}],
    [[{ ...first, enabled: false }, second], "orthogonal_projection", {}],
    [tables.plain, "average", {}],
    [[{ ...first, delta_from: "c" }, second], "average", {}],
    [[first, { ...second, delta_from: "base" }], "orthogonal_projection", {}],
    [
      [
        { ...first, model: "c" },
        { ...second, delta_from: "base" },
      ],
      "orthogonal_projection",
      { variant: "symmetric" },
    ],
    [tables.plain, "orthogonal_projection", {}],
    [tables.chain, "orthomerge", {}],
  ];
  for (const edit of edits) assert.deepEqual(forecast(reduced, ...edit), once(...edit));
});

test("rows as a person leaves them half-typed are no numbers, not errors", () => {
  const found = forecast(
    reduced,
    [{ model: "a", alpha: NaN }, { model: "b" }, { model: "c", delta_from: "" }],
    "average",
  );
  assert.equal(found.rows[0].retention > 0, true);
  assert.equal(found.rows[0].problem, "");
  assert.equal(found.rows[2].problem, "delta_from");
});

test("neither figures nor rows are changed", () => {
  const [before, rows] = [JSON.stringify(reduced), JSON.stringify(tables.chain)];
  forecast(reduced, tables.chain, "orthomerge");
  assert.equal(JSON.stringify(reduced), before);
  assert.equal(JSON.stringify(tables.chain), rows);
});

test("of a method that is not known here only the rows' own figures are told", () => {
  const found = forecast(reduced, tables.plain, "mean");
  assert.deepEqual(
    [found.norm, found.cancellation, found.blocks[0].norm, found.rows[0].retention],
    Array(4).fill(null),
  );
  assert.equal(found.rows[0].norm > 0, true);
});

test("other versions are refused", () => {
  assert.throws(() => forecast({ ...reduced, version: 2 }, [], "average"), /another version/);
});
