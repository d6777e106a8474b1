/** The cells of a grid picture as a list, each with a way to take it into the table. */
import { el } from "../parts/dom.mjs";
import { t } from "../parts/words.mjs";
import { cellLabel } from "../table/grid_cells.mjs";

/**
 * @param {import("../table/grid_cells.mjs").Grid} grid
 * @param {(recipe: any) => void} take
 */
export function gridFace({ axes, cells }, take) {
  const rows = cells.map((cell) => {
    const label = cellLabel(axes, cell);
    return el(
      "tr",
      {},
      el("th", { scope: "row", title: label }, label, cell.caption ? el("div.om-note", {}, cell.caption) : null),
      el(
        "td",
        {},
        el(
          "button.om-button",
          { type: "button", "aria-label": `${t("takeCell")}: ${label}`, on: { click: () => take(cell.recipe) } },
          t("takeCell"),
        ),
      ),
    );
  });
  return el(
    "div.om-scroll",
    { tabIndex: 0, role: "region", "aria-label": t("gridCells") },
    el("table.om-small-table", { "aria-label": t("gridCells") }, el("tbody", {}, rows)),
  );
}
