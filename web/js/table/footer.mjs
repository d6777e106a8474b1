/** Beneath the table: what concerns more than one row, and the merge in symbols. */
import { el, icon } from "../parts/dom.mjs";
import { splitFolder } from "../parts/names.mjs";
import { t } from "../parts/words.mjs";
import { formula } from "./formula.mjs";
import { isActive } from "./rules.mjs";

export function footer(view, rows, problems) {
  const { warnings = [], failure } = view.host.context();
  const trouble = [
    ...problems.filter((p) => p.row < 0).map((p) => ({ text: t(p.code), tone: "om-error" })),
    ...methodTrouble(view, rows),
  ];
  const isSeen = problems.some((p) => p.severity === "error") || trouble.some((line) => line.tone === "om-error");
  const lines = [
    ...(failure && !isSeen ? [{ text: failure, tone: "om-error", role: "alert" }] : []),
    ...trouble,
    ...warnings.map(({ text, enable }) => ({ text, tone: "om-warning", enable: missing(rows, enable) })),
  ];
  return el(
    "div.om-footer",
    {},
    ...lines.map((line) => footerLine(view, line)),
    el("div.om-formula", { role: "region", tabIndex: 0, "aria-label": t("formula") }, formulaText(view, rows)),
  );
}

/** Those of `models` that are not merged: what is left of a warning's remedy. */
const missing = (rows, models) => models.filter((name) => !rows.some((row) => row.model === name && isActive(row)));

function footerLine(view, { text, tone, role, enable = [] }) {
  const names = enable.map((name) => splitFolder(name)[1]).join(", ");
  return el(
    "div.om-problem",
    { class: tone, role },
    icon(tone === "om-note-line" ? "info" : "warn"),
    el("span", {}, text),
    enable.length
      ? el(
          "button.om-link",
          {
            type: "button",
            data: { key: `remedy:${enable[0]}` },
            on: { click: () => view.act.enable(...enable) },
          },
          t("enable", { model: names }),
        )
      : null,
  );
}

function methodTrouble(view, rows) {
  const { host } = view;
  const schema = host.methods()[host.method()];
  const active = rows.filter(isActive).length;
  const { names } = host.context();
  const { model: texture } = host.texture();
  const lines = [];
  if (schema?.max_rows && active > schema.max_rows) {
    lines.push({
      text: t("maxRows", { method: schema.label ?? host.method(), count: schema.max_rows, active }),
      tone: "om-error",
    });
  }
  if (texture && names.length && !names.includes(texture))
    lines.push({ text: t("textureUnknown", { model: texture }), tone: "om-error" });
  if (schema?.order_matters && active > 1) lines.push({ text: t("orderMatters"), tone: "om-note-line" });
  return lines;
}

export function formulaText(view, rows) {
  const { host } = view;
  const { model: textureModel, alpha: textureAlpha } = host.texture();
  return formula(rows, { method: host.method(), textureModel, textureAlpha });
}
