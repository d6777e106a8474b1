import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { ENGLISH, t, useWords } from "../../web/js/parts/words.mjs";

const read = (path) => JSON.parse(readFileSync(new URL(`../../${path}`, import.meta.url)));
const LANGUAGES = readdirSync(new URL("../../locales/", import.meta.url));
const places = (text) => [...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort();
const inputs = (defs) =>
  Object.fromEntries(
    Object.entries(defs).map(([id, def]) => [id, [Object.keys(def.inputs).sort(), Object.keys(def.outputs).sort()]]),
  );

test("English of the locale files is the English of the code", () => {
  assert.deepEqual(read("locales/en/main.json").orthomerge, ENGLISH);
});

for (const language of LANGUAGES) {
  test(`${language}: every word, with the same places for values`, () => {
    const words = read(`locales/${language}/main.json`).orthomerge;
    assert.deepEqual(Object.keys(words).sort(), Object.keys(ENGLISH).sort());
    for (const [key, text] of Object.entries(words)) assert.deepEqual(places(text), places(ENGLISH[key]), key);
  });

  test(`${language}: every node with every input and output`, () => {
    assert.deepEqual(inputs(read(`locales/${language}/nodeDefs.json`)), inputs(read("locales/en/nodeDefs.json")));
  });
}

test("values are filled in, unknown languages are English", () => {
  useWords({ de: read("locales/de/main.json") }, "de");
  assert.equal(t("copied", { count: 3 }), "3 Zeilen kopiert");
  useWords({ de: read("locales/de/main.json") }, "fr");
  assert.equal(t("copied", { count: 0 }), "Copied 0 rows");
});
