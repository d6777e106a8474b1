/**
 * A row's layers as a picture: the model's blocks in order with a slider each, kinds of tensors, curves,
 * and the text beside it. Text and sliders are two views of one value; the text is what is stored.
 *
 * @typedef {import("./types").View} View
 */
import { numberInput } from "../parts/cells.mjs";
import { el, focusKey, focusedKey } from "../parts/dom.mjs";
import { percent, shortNumber } from "../parts/numbers.mjs";
import { closePopup, openPopup } from "../parts/popup.mjs";
import { t } from "../parts/words.mjs";
import { decode, rowEnergies } from "../forecast/data.mjs";
import { GROUPS, blockRules, curveChoices, describe, writeRules } from "./block_weights.mjs";
import { layersAdvice } from "./layers_advice.mjs";

const WIDTH = 520;

/** @param {View} view */
export function openLayers(view, index, anchor) {
  const { row } = view.state.entries[index];
  const { forecast } = view.host.context();
  const data = forecast ? decode(forecast) : null;
  const energies = data ? rowEnergies(data, row) : null;
  const panel = { text: row.layers, data, energies, forecast };
  const box = el("div.om-layers-panel", {});
  const commit = () => {
    const at = view.state.entries.findIndex(
      (entry) => entry.row.model === row.model && entry.row.layers === row.layers,
    );
    view.act.set(at < 0 ? index : at, "layers", panel.text.trim());
  };
  const draw = () => {
    const key = focusedKey(box);
    const scroll = box.querySelector(".om-block-list")?.scrollTop ?? 0;
    box.replaceChildren(...contents(panel, change, apply, closePopup));
    const list = box.querySelector(".om-block-list");
    if (list) list.scrollTop = scroll;
    focusKey(box, key);
  };
  const change = (text) => {
    panel.text = text;
    draw();
  };
  const apply = () => {
    closePopup();
    commit();
  };
  draw();
  openPopup(anchor, box, { label: `${row.model}: ${t("layersPanel")}`, width: WIDTH });
  focusKey(box, "layersText");
}

/** @returns {HTMLElement[]} */
function contents(panel, change, apply, cancel) {
  const { text, data, forecast } = panel;
  const field = el("textarea.om-input.om-layers-text", {
    rows: 3,
    value: text,
    placeholder: t("allLayers"),
    spellcheck: false,
    "aria-label": t("layersText"),
    data: { key: "layersText" },
    on: { change: (event) => change(event.target.value) },
  });
  const advice = layersAdvice(text, forecast);
  const trouble = advice
    ? el(
        "p.om-problem",
        { class: advice.tone === "error" ? "om-error" : "om-warning", role: "alert" },
        t(advice.code, advice),
      )
    : null;
  const buttons = el(
    "div.om-buttons",
    {},
    el("button.om-button", { type: "button", on: { click: () => change("") } }, t("layersReset")),
    el("button.om-button", { type: "button", on: { click: cancel } }, t("cancel")),
    el(
      "button.om-button.om-primary",
      { type: "button", data: { key: "layersApply" }, on: { click: apply } },
      t("apply"),
    ),
  );
  if (!data) return present([field, trouble, el("p.om-note", {}, t("layersNoNames")), buttons]);
  const found = describe(text, data, panel.energies);
  return present([
    field,
    trouble,
    presetsLine(panel, change),
    total(found),
    groupsLine(panel, found, change),
    blockList(panel, found, change),
    buttons,
  ]);
}

/** @param {(HTMLElement | null)[]} parts */
const present = (parts) => parts.flatMap((part) => (part ? [part] : []));

function total({ tensors, touched, energy, kept }) {
  const share = energy > 0 ? percent(kept / energy, 0) : "–";
  return el("p.om-note", { role: "status" }, t("layersTotal", { touched, tensors, share }));
}

function presetsLine({ data }, change) {
  const choices = curveChoices(data.blocks);
  const select = el(
    "select.om-input",
    { "aria-label": t("curve"), data: { key: "curve" } },
    el("option", { value: "" }, t("curve")),
    ...choices.map(({ name }) => el("option", { value: name }, name)),
  );
  select.addEventListener("change", () => {
    const chosen = choices.find((item) => item.name === select.value);
    if (chosen) change(chosen.text);
  });
  return el("div.om-form", {}, select);
}

function groupsLine(panel, found, change) {
  const shown = GROUPS.filter(({ name }) => found.groups[name]?.tensors);
  if (!shown.length) return null;
  return el(
    "div.om-groups",
    { role: "group", "aria-label": t("groups") },
    ...shown.map(({ name, pattern }) => {
      const { tensors, weight } = found.groups[name];
      return el(
        "label.om-group",
        { title: t("groupHelp", { pattern, tensors }) },
        el("span", {}, t(`group_${name}`)),
        weightInput(weight ?? 1, `${t(`group_${name}`)}`, `group:${name}`, (value) =>
          change(writeRules(panel.text, pattern, value, panel.data.blocks)),
        ),
      );
    }),
  );
}

const weightInput = (value, label, key, onCommit) =>
  numberInput({
    value,
    low: -5,
    high: 5,
    step: 0.05,
    label: `${label}: ${t("weight")}`,
    key,
    show: (v) => shortNumber(v),
    onCommit,
  });

function blockList(panel, found, change) {
  const largest = Math.max(...found.blocks.map((block) => block.energy), Number.MIN_VALUE);
  return el(
    "div.om-block-list.om-scroll",
    { tabIndex: 0, role: "group", "aria-label": t("blocks") },
    ...found.blocks.map((block) => blockLine(panel, block, largest, found.energy, change)),
  );
}

function blockLine(panel, block, largest, energy, change) {
  const set = (value) => change(blockRules(panel.text, block.id, block.name, value, panel.data));
  const slider = el("input.om-slider", {
    type: "range",
    min: "0",
    max: "2",
    step: "0.05",
    value: block.weight ?? 1,
    "aria-label": `${block.name}: ${t("weight")}`,
    style: { "--om-fill": `${Math.min(2, Math.max(0, block.weight ?? 1)) * 50}%` },
    data: { key: `slider:${block.id}` },
    on: {
      input: (event) => event.target.style.setProperty("--om-fill", `${Number(event.target.value) * 50}%`),
      change: (event) => set(Number(event.target.value)),
    },
  });
  const share = energy > 0 ? block.energy / energy : 0;
  const help = t("blockHelp", { block: block.id, tensors: block.tensors, share: percent(share) });
  return el(
    "div.om-block",
    { title: help, class: block.weight === null ? "om-mixed" : "" },
    el("span.om-block-name", {}, block.name),
    el(
      "span.om-track",
      { role: "img", "aria-label": help },
      el("span.om-fill", { style: { width: `${(100 * block.energy) / largest}%` } }),
    ),
    el("span.om-note.om-block-share", {}, percent(share, 1)),
    slider,
    weightInput(block.weight ?? block.mean, block.name, `block:${block.id}`, set),
  );
}
