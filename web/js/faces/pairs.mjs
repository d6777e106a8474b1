/** The analyzer's table inside its node: every model's grade and change, and cosines of all pairs in colour. */
import { el } from "../parts/dom.mjs";
import { t } from "../parts/words.mjs";

const minus = (text) => text.replace("-", "−");
const percent = (share) => `${minus(String(Math.round(share * 1000) / 10))} %`;

/** A cosine in two digits without its leading zero: ".93", "−.12", "1", "0". */
export function shortCosine(value) {
  const text = Math.abs(value).toFixed(2);
  if (Number(text) === 0) return "0";
  const digits = text === "1.00" ? "1" : text.slice(1);
  return value < 0 ? `−${digits}` : digits;
}

/** @param {{names: string[], grade: string[], change: number[], cosine: number[][], conflict: number[][]}} figures */
export function pairsTable({ names, grade, change, cosine, conflict }) {
  const heads = [t("model"), t("grade"), t("change"), ...names.map((name, i) => [String(i + 1), name])];
  return el(
    "div.om-scroll",
    { tabIndex: 0, role: "region", "aria-label": t("cosine") },
    el(
      "table.om-small-table.om-pairs",
      { "aria-label": t("cosine") },
      el(
        "thead",
        {},
        el(
          "tr",
          {},
          heads.map((head) =>
            Array.isArray(head)
              ? el("th", { scope: "col", title: head[1], "aria-label": head[1] }, head[0])
              : el("th", { scope: "col" }, head),
          ),
        ),
      ),
      el(
        "tbody",
        {},
        names.map((name, i) =>
          el(
            "tr",
            {},
            el("th", { scope: "row", title: name }, `${i + 1} ${name}`),
            el("td", {}, grade[i]),
            el("td.om-number", {}, percent(change[i])),
            ...names.map((other, j) =>
              i === j ? el("td.om-pair.om-self", {}) : pairCell(name, other, cosine[i][j], conflict[i][j]),
            ),
          ),
        ),
      ),
    ),
  );
}

function pairCell(a, b, cosine, conflict) {
  const strength = `${Math.round(70 * Math.abs(cosine))}%`;
  const said = t("pairHelp", {
    a,
    b,
    cosine: minus(cosine.toFixed(2)),
    fresh: percent(1 - cosine * cosine),
    conflict: percent(conflict),
  });
  return el(
    "td.om-pair",
    { class: cosine < 0 ? "om-opposed" : "", title: said, style: { "--om-strength": strength } },
    shortCosine(cosine),
  );
}
