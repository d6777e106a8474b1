/** The typed and chosen cells of a row, and how every column's values are shown. */
import { el, iconButton } from "../parts/dom.mjs";
import { hint } from "../parts/hint.mjs";
import { splitFolder } from "../parts/names.mjs";
import { evaluate, showNumber } from "../parts/numbers.mjs";
import { t } from "../parts/words.mjs";
import { layersTrouble } from "./layers.mjs";
import { shortName } from "./notices.mjs";

export const SHOWN = {
  text: (v) => (v === undefined ? t("asAlpha") : typeof v === "number" ? showNumber(v) : v),
  enabled: (v) => (v ? t("yes") : t("no")),
  alpha: showNumber,
  repeat: (v) => `${v}×`,
  layers: (v) => v || t("allLayers"),
  delta_from: shortName,
  model: (v) => splitFolder(v)[1],
};
export const LABEL = {
  text: "textAlpha",
  enabled: "on",
  model: "model",
  delta_from: "from",
  alpha: "alpha",
  repeat: "repeat",
  layers: "layers",
};

export function hintFor(column, { row, proposed }, help) {
  if (!proposed || proposed[column] === row[column]) return help;
  return `${t("proposed", { value: SHOWN[column](proposed[column]) })}\n${help}`;
}

/** Alpha of the text encoders: empty as alpha, one number, or two for L and G. */
export function textField(entry, index, key, act) {
  const { row } = entry;
  const shown = row.text === undefined ? "" : String(row.text);
  const input = el("input.om-input.om-text", {
    type: "text",
    value: shown,
    placeholder: t("asAlpha"),
    autocomplete: "off",
    spellcheck: false,
    title: hintFor("text", entry, t("textHelp")),
    "aria-label": `${row.model}: ${t("textAlpha")}`,
    data: { key: key("text") },
  });
  input.addEventListener("change", () => {
    const parts = input.value.trim() ? input.value.split("/").map((part) => evaluate(part)) : [];
    const isGood = parts.length <= 2 && parts.every((part) => Number.isFinite(part) && Math.abs(part) <= 5);
    if (!isGood) {
      hint(input, t("textWrong", { text: input.value.slice(0, 40) }));
      input.value = shown;
      return;
    }
    act.set(index, "text", parts.length === 2 ? parts.join("/") : parts[0]);
  });
  return input;
}

export function repeatChoice(entry, index, key, act) {
  const { row } = entry;
  const select = el(
    "select.om-input.om-repeat",
    {
      title: hintFor("repeat", entry, t("repeatHelp")),
      "aria-label": `${row.model}: ${t("repeat")}`,
      data: { key: key("repeat") },
    },
    ...[1, 2, 3].map((n) => el("option", { value: String(n), selected: n === row.repeat }, `${n}×`)),
  );
  select.addEventListener("change", () => act.set(index, "repeat", Number(select.value)));
  return select;
}

export function layersField(entry, index, notices, key, act) {
  const { row } = entry;
  const bad = notices.find((notice) => notice.code.startsWith("layers"));
  const input = el("input.om-input.om-layers", {
    type: "text",
    value: row.layers,
    placeholder: t("allLayers"),
    spellcheck: false,
    autocomplete: "off",
    title: bad?.text ?? hintFor("layers", entry, row.layers ? `${row.layers}\n${t("layersHelp")}` : t("layersHelp")),
    "aria-label": `${row.model}: ${t("layers")}`,
    "aria-invalid": bad?.tone === "error" ? "true" : undefined,
    class: bad ? `om-layers-${bad.tone}` : "",
    data: { key: key("layers") },
  });
  const check = () => {
    const trouble = layersTrouble(input.value);
    if (trouble) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
    if (trouble) input.title = t(trouble.code, trouble);
  };
  input.addEventListener("input", check);
  input.addEventListener("change", () => act.set(index, "layers", input.value.trim()));
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && input.value !== row.layers) {
      event.stopPropagation();
      input.value = row.layers;
      check();
    } else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
      input.dispatchEvent(new CustomEvent("om-next", { bubbles: true, detail: event.shiftKey ? -1 : 1 }));
    }
  });
  const open = iconButton(
    "sliders",
    `${row.model}: ${t("layersPanel")}`,
    (event) => act.editLayers(index, event.currentTarget),
    {
      class: "om-layers-open",
      "aria-haspopup": "dialog",
      data: { key: key("layersPanel") },
    },
  );
  return el("div.om-layers-cell", {}, input, open);
}
