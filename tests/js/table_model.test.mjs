import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as model from "../../web/js/table/model.mjs";
import { setOption, withSuggestions } from "../../web/js/table/options.mjs";
import { effectiveRows, findProblems } from "../../web/js/table/rules.mjs";

const CASES = JSON.parse(readFileSync(new URL("../fixtures/table_cases.json", import.meta.url)));
const FAMILY = CASES.proposals.family;
const NAMES = ["detail", "flash", "twin"];
const short = (r) => [r.model, r.delta_from, r.alpha, r.enabled, r.repeat, r.layers];
const textOf = (table) => (typeof table === "string" ? table : JSON.stringify(table));
const start = (value = "", proposal = FAMILY) => model.makeState(model.readTable(value), proposal, NAMES);
const rowsOf = (state) => state.entries.map((e) => short(e.row));
/** What the node would show after save and reload. */
const reload = (state) => model.makeState(model.readTable(model.write(state)), state.proposal, state.names);

for (const item of CASES.effective) {
  test(`effective: ${item.name}`, () => {
    const table = model.readTable(textOf(item.table));
    const rows = effectiveRows(table, CASES.proposals[item.proposal] ?? [], item.names ?? []);
    assert.deepEqual(rows.map(short), item.rows);
  });
}

for (const item of CASES.errors) {
  test(`error: ${item.name}`, () => {
    assert.throws(() => model.readTable(textOf(item.table)), model.TableError);
  });
}

for (const item of CASES.problems) {
  test(`problem: ${item.name}`, () => {
    const rows = item.rows.map(([name, delta_from, alpha, enabled]) => ({ model: name, delta_from, alpha, enabled }));
    const found = findProblems(rows, item.names).map((p) => [p.row, p.code, p.severity]);
    assert.deepEqual(found, item.problems);
  });
}

test("nothing changed writes the empty string", () => {
  for (const value of [null, undefined, "", "  ", '{"version":1,"rows":[]}']) {
    assert.equal(model.write(start(value)), "");
  }
});

test("an edit stores the whole row and its mark, nothing else", () => {
  const state = model.setCell(start(), 1, "alpha", 0.5);
  assert.deepEqual(JSON.parse(model.write(state)), {
    version: 1,
    rows: [
      { enabled: true, model: "flash", delta_from: "detail", alpha: 0.5, repeat: 1, layers: "", touched: ["alpha"] },
    ],
  });
});

test("an edit back to the proposal leaves no trace", () => {
  const state = model.setCell(model.setCell(start(), 1, "alpha", 0.5), 1, "alpha", 1);
  assert.equal(model.write(state), "");
});

test("zero is a value", () => {
  const state = reload(model.setCell(start(), 0, "alpha", 0));
  assert.equal(state.entries[0].row.alpha, 0);
});

test("values out of range change nothing", () => {
  const state = start();
  for (const [column, value] of [
    ["alpha", 6],
    ["alpha", Number.NaN],
    ["repeat", 4],
    ["model", ""],
    ["enabled", 1],
  ]) {
    assert.equal(model.setCell(state, 0, column, value), state);
  }
});

test("a new proposal moves untouched rows only", () => {
  const edited = model.write(model.setCell(start(), 1, "alpha", 0.5));
  const later = FAMILY.map((row) => ({ ...row, alpha: 0.7, delta_from: "base" }));
  const rows = start(edited, later).entries.map((e) => [e.row.model, e.row.alpha, e.row.delta_from]);
  assert.deepEqual(rows, [
    ["detail", 0.7, "base"],
    ["flash", 0.5, "detail"],
    ["twin", 0.7, "base"],
  ]);
});

test("remove and reset", () => {
  const removed = model.removeRow(start(), 1);
  assert.deepEqual(JSON.parse(model.write(removed)), { version: 1, rows: [], removed: ["flash"] });
  assert.deepEqual(
    rowsOf(reload(removed)).map((r) => r[0]),
    ["detail", "twin"],
  );
  assert.equal(model.write(model.resetTable(removed)), "");
});

test("a removed model comes back by adding it", () => {
  const state = reload(model.addRow(model.removeRow(start(), 1), "flash"));
  assert.deepEqual(
    rowsOf(state).map((r) => r[0]),
    ["detail", "twin", "flash"],
  );
});

test("duplicate stands below and stays there", () => {
  const state = reload(model.setCell(model.duplicateRow(start(), 0), 1, "alpha", -1));
  assert.deepEqual(
    rowsOf(state).map((r) => [r[0], r[2]]),
    [
      ["detail", 1],
      ["detail", -1],
      ["flash", 1],
      ["twin", 1],
    ],
  );
});

test("move is kept, moving back leaves no trace", () => {
  const moved = model.moveRow(start(), 2, 0);
  assert.deepEqual(
    rowsOf(reload(moved)).map((r) => r[0]),
    ["twin", "detail", "flash"],
  );
  assert.equal(JSON.parse(model.write(moved)).ordered, true);
  assert.equal(model.write(model.moveRow(moved, 0, 2)), "");
});

test("toggle all goes from some to all to none", () => {
  let state = start();
  assert.equal(model.toggleState(state), "some");
  state = model.toggleAll(state);
  assert.equal(model.toggleState(state), "all");
  state = model.toggleAll(state);
  assert.equal(model.toggleState(state), "none");
});

test("reset cell and row", () => {
  let state = model.setCell(model.setCell(start(), 1, "alpha", 0.5), 1, "repeat", 3);
  state = model.resetCell(state, 1, "alpha");
  assert.deepEqual(state.entries[1].touched, ["repeat"]);
  assert.equal(model.write(model.resetRow(state, 1)), "");
});

test("options keep only what differs, and other methods' options survive", () => {
  const damping = { name: "damping", default: 0.001 };
  let state = start('{"options":{"slerp":{"slerp_axis":"row"}}}');
  state = reload(setOption(state, "orthomerge", damping, 0.1));
  assert.deepEqual(state.table.options, { slerp: { slerp_axis: "row" }, orthomerge: { damping: 0.1 } });
  state = setOption(state, "orthomerge", damping, 0.001);
  assert.deepEqual(JSON.parse(model.write(state)).options, { slerp: { slerp_axis: "row" } });
});

test("a method chosen anew states what it suggests, and its default is then a choice", () => {
  const params = [
    { name: "density", default: 1, suggested: 0.2 },
    { name: "vote_by_size", default: true },
  ];
  let state = withSuggestions(start(), "ties", params);
  assert.deepEqual(JSON.parse(model.write(state)).options, { ties: { density: 0.2 } });
  state = setOption(state, "ties", params[0], 1);
  assert.deepEqual(JSON.parse(model.write(state)).options, { ties: { density: 1 } });
  assert.equal(withSuggestions(state, "ties", params), state);
});

test("unknown fields survive", () => {
  const state = start('{"theme":1,"rows":[{"model":"flash","alpha":2,"hue":3}]}');
  const out = JSON.parse(model.write(model.setCell(state, 1, "repeat", 2)));
  assert.equal(out.theme, 1);
  assert.equal(out.rows[0].hue, 3);
});

test("before the optimizer has run, unseen rows and removals are kept", () => {
  const state = model.makeState(model.readTable('{"rows":[{"model":"flash","alpha":2}],"removed":["twin"]}'), null, []);
  const out = model.write(model.setCell(state, 0, "alpha", 3));
  const later = start(out);
  assert.deepEqual(
    rowsOf(later).map((r) => [r[0], r[2]]),
    [
      ["detail", 1],
      ["flash", 3],
    ],
  );
});

test("without an optimizer every name has a row, and edits keep them all", () => {
  const state = model.makeState(model.readTable(""), [], ["a", "b"]);
  assert.equal(model.write(state), "");
  const edited = reload(model.setCell(state, 1, "alpha", 0.5));
  assert.deepEqual(
    rowsOf(edited).map((r) => [r[0], r[2]]),
    [
      ["a", 1],
      ["b", 0.5],
    ],
  );
  const none = reload(model.removeRow(model.removeRow(edited, 0), 0));
  assert.deepEqual(none.entries, []);
});

/** Small deterministic generator, so that a failure can be repeated from its seed. */
function random(seed) {
  let s = seed;
  return (n) => {
    s = (s * 1103515245 + 12345) % 2147483648;
    return Math.floor((s / 2147483648) * n);
  };
}

test("any chain of edits survives save and reload", () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const pick = random(seed);
    let state = start("", [FAMILY, [], null][seed % 3]);
    for (let step = 0; step < 8; step += 1) {
      const at = pick(Math.max(1, state.entries.length));
      const edits = [
        () => model.addRow(state, ["detail", "flash", "new"][pick(3)]),
        () => (state.entries.length ? model.removeRow(state, at) : state),
        () => (state.entries.length ? model.duplicateRow(state, at) : state),
        () => (state.entries.length ? model.moveRow(state, at, pick(state.entries.length)) : state),
        () => (state.entries.length ? model.setCell(state, at, "alpha", pick(9) / 2 - 2) : state),
        () => (state.entries.length ? model.setCell(state, at, "model", ["detail", "flash", "new"][pick(3)]) : state),
        () => (state.entries.length ? model.resetRow(state, at) : state),
        () => model.toggleAll(state),
      ];
      state = edits[pick(edits.length)]();
      assert.deepEqual(rowsOf(reload(state)), rowsOf(state), `seed ${seed}, step ${step}: ${model.write(state)}`);
    }
  }
});

test("a remedy turns on every row it names, as one edit", () => {
  const state = start("", [{ ...FAMILY[0], enabled: false }, { ...FAMILY[1], alpha: 0 }, ...FAMILY.slice(2)]);
  const [first, second] = state.entries.map((entry) => entry.row.model);
  const rows = rowsOf(model.enableModels(state, [first, second, "new"]));
  assert.deepEqual([rows[0][3], rows[1][2], rows.at(-1)[0]], [true, 1, "new"]);
});
