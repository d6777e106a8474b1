/**
 * One line for VAE and prediction, where the set has such parts or disagrees; else nothing.
 *
 * @typedef {import("./types").View} View
 */
import { choiceButton } from "../parts/cells.mjs";
import { el } from "../parts/dom.mjs";
import { splitFolder } from "../parts/names.mjs";
import { openPicker } from "../parts/popup.mjs";
import { t } from "../parts/words.mjs";
import { disagreeing, hasVae, MERGE, predictionChoices, vaeChoices } from "./part_choices.mjs";
import { BASE } from "./rules.mjs";

/**
 * @param {View} view
 * @returns {HTMLElement | null}
 */
export function partsBar(view) {
  const { parts = null } = view.host.context();
  const { vae, prediction } = view.host.parts();
  const rows = view.state.entries.map((entry) => entry.row);
  const odd = disagreeing(parts, rows);
  const fields = [
    hasVae(parts) || vae !== BASE ? vaeField(view, parts, vae) : null,
    odd.length || prediction ? predictionField(view, parts, prediction, odd.length > 0) : null,
  ].filter((item) => item !== null);
  return fields.length ? el("div.om-parts-bar", { role: "group", "aria-label": t("parts") }, ...fields) : null;
}

const vaeWords = (name) => (name === BASE ? t("vaeBase") : name === MERGE ? t("vaeMerge") : splitFolder(name)[1]);

function vaeField(view, parts, current) {
  const notes = { base: "", merge: "", model: t("vaeOfModel"), file: "models/vae" };
  const items = vaeChoices(parts, current).map(({ name, from }) => ({
    name,
    label: from === "base" || from === "merge" ? vaeWords(name) : undefined,
    note: notes[from],
  }));
  return field(view, { name: "vae", label: t("vae"), help: t("vaeHelp"), text: vaeWords(current), items, current });
}

const predictionWords = (name) =>
  name === "" ? t("predictionNone") : name === BASE ? t("predictionBase") : splitFolder(name)[1];

function predictionField(view, parts, current, isOpen) {
  const items = predictionChoices(parts, current).map(({ name, words }) => ({
    name,
    label: name === "" || name === BASE ? predictionWords(name) : undefined,
    note: words,
  }));
  return field(view, {
    name: "prediction",
    label: t("prediction"),
    help: t("predictionHelp"),
    text: predictionWords(current),
    items,
    current,
    classes: isOpen && !current ? "om-error" : "",
  });
}

function field(view, { name, label, help, text, items, current, classes = "" }) {
  return el(
    "div.om-part-field",
    {},
    el("span.om-line-label", { "aria-hidden": "true" }, label),
    choiceButton({
      text,
      label: `${label}: ${text}`,
      key: name,
      help,
      classes: classes || (current && current !== BASE ? "om-changed" : ""),
      onOpen: (anchor) => openPicker(anchor, { label, items, current, onPick: (next) => view.act.setPart(name, next) }),
    }),
  );
}
