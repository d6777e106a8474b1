/**
 * A cell of a grid picture into the table: from the picture's face, a dropped PNG, or a chosen file.
 *
 * @typedef {import("./types").View} View
 */
import { el } from "../parts/dom.mjs";
import { pngTexts } from "../parts/png_texts.mjs";
import { openPicker } from "../parts/popup.mjs";
import { shortNumber } from "../parts/numbers.mjs";
import { t } from "../parts/words.mjs";
import { cellLabel, GRID_TEXT, readGrid, takenFrom } from "./grid_cells.mjs";
import * as model from "./model.mjs";

/**
 * The recipe takes the table's place, as one step of undo.
 * @param {View} view
 */
export function takeRecipe(view, recipe) {
  const taken = takenFrom(recipe);
  const { [taken.method]: _, ...others } = view.state.table.options;
  const options = /** @type {any} */ ({ ...others, ...taken.options });
  const next = model.replaceRows(view.state, taken.rows, options);
  view.host.takeOver(taken, model.write(next));
  const words = t("cellTaken", { count: taken.rows.length });
  view.host.say(taken.strength === 1 ? words : `${words} ${t("cellStrength", { value: shortNumber(taken.strength) })}`);
}

/** Offers the cells of a PNG; says so where it holds none. */
async function offerCells(view, file, anchor) {
  const grid = readGrid(pngTexts(new Uint8Array(await file.arrayBuffer()))[GRID_TEXT] ?? "");
  if (!grid) {
    view.host.say(t("noCells", { file: file.name }), "warn");
    return;
  }
  const items = grid.cells.map((cell, i) => ({
    name: String(i),
    label: cellLabel(grid.axes, cell),
    note: cell.caption ?? "",
  }));
  openPicker(anchor, {
    label: t("takeCell"),
    items,
    onPick: (name) => takeRecipe(view, grid.cells[Number(name)].recipe),
  });
}

/** @param {View} view */
export function chooseGridPicture(view, anchor) {
  const input = el("input", { type: "file", accept: "image/png" });
  input.addEventListener("change", () => {
    const [file] = input.files ?? [];
    if (file) offerCells(view, file, anchor);
  });
  input.click();
}

/**
 * A PNG that is dropped on the table; anything else is the page's business.
 * @param {View} view
 * @param {AbortSignal} signal
 */
export function takeDroppedPictures(view, signal) {
  const isFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const over = (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    event.stopPropagation();
  };
  const drop = (event) => {
    const file = [...(event.dataTransfer?.files ?? [])].find((item) => item.type === "image/png");
    if (!file) return;
    event.preventDefault();
    event.stopPropagation();
    offerCells(view, file, view.root);
  };
  view.root.addEventListener("dragover", over, { signal });
  view.root.addEventListener("drop", drop, { signal });
}
