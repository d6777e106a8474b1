/** OrthoModelSet's picker: a list of chosen files over a newline-separated string. */
import { el, focusedKey, focusKey, icon, iconButton, shield } from "../parts/dom.mjs";
import { fileNote, readNames, writeNames } from "./model_names.mjs";
import { sortNames, splitFolder } from "../parts/names.mjs";
import { closePopup, openPicker } from "../parts/popup.mjs";
import { t } from "../parts/words.mjs";

/**
 * @typedef {{names: string[], files: Record<string, string>, missing: {file: string, text: string}[],
 *   parts?: import("../table/types").Parts | null}} Members
 * @param {{getValue: () => string, commit: (value: string) => void, base: () => string,
 *   available: () => {name: string, bytes?: number, modified?: number}[], members: () => Members | null,
 *   lastRun: () => {files?: Record<string, string>, skipped?: {file: string, reason: string}[]} | null,
 *   refresh: () => Promise<void>, say: Function, resized: () => void}} host
 */
export function createModelsView(host, signal) {
  const root = el("section.om.om-models-view", { "aria-label": t("pickModels") });
  shield(root, signal);
  const view = { host, root, refresh: () => draw(view) };
  view.refresh();
  return view;
}

function draw(view) {
  const { host, root } = view;
  const names = readNames(host.getValue());
  const key = focusedKey(root);
  root.replaceChildren(toolbar(view, names), el("ul.om-chosen.om-scroll", {}, entries(view, names)));
  focusKey(root, key);
  host.resized();
}

function toolbar(view, names) {
  const { host } = view;
  return el(
    "div.om-toolbar",
    {},
    el(
      "button.om-button",
      {
        type: "button",
        "aria-haspopup": "listbox",
        data: { key: "pick" },
        on: { click: (event) => pick(view, event.currentTarget) },
      },
      icon("plus"),
      el("span", {}, t("pickModels")),
    ),
    el("span.om-sum", {}, names.length ? t("modelsChosen", { count: names.length }) : ""),
    iconButton("refresh", t("refreshFiles"), () => host.refresh(), { data: { key: "refresh" } }),
    names.length
      ? el(
          "button.om-button",
          { type: "button", data: { key: "clear" }, on: { click: () => host.commit("") } },
          t("clear"),
        )
      : null,
  );
}

function entries(view, names) {
  if (names.length) return names.map((name) => chosen(name, view));
  const run = view.host.lastRun();
  const taken = Object.values(run?.files ?? {}).map((file) => el("li.om-note", {}, nameOf(file)));
  const left = (run?.skipped ?? []).map(({ file, reason }) =>
    el("li.om-note", { title: reason }, nameOf(file), el("span.om-problem", {}, `${t("skipped")}: ${reason}`)),
  );
  return [el("li.om-empty", {}, t("allModels")), ...taken, ...left];
}

function nameOf(name) {
  const [folder, leaf] = splitFolder(name);
  return el(
    "span.om-chosen-name",
    { title: name },
    folder ? el("span.om-note", {}, `${folder}/`) : null,
    el("span", {}, leaf),
  );
}

function chosen(name, { host }) {
  const file = host.available().find((item) => item.name === name);
  const missing = host.members()?.missing.find((item) => item.file === name)?.text ?? "";
  const note = missing ? "" : fileNote(file);
  const drop = () => host.commit(writeNames(readNames(host.getValue()).filter((other) => other !== name)));
  return el(
    "li",
    { class: missing ? "om-bad" : "" },
    el(
      "span.om-chosen-entry",
      {},
      nameOf(name),
      missing ? el("span.om-problem.om-error", { role: "alert" }, icon("warn"), el("span", {}, missing)) : null,
    ),
    note ? el("span.om-note", {}, note) : null,
    iconButton("cross", `${t("remove")}: ${name}`, drop, { data: { key: `drop:${name}` } }),
  );
}

function pick(view, anchor) {
  const { host } = view;
  const order = sortNames(host.available().map(({ name }) => name));
  const items = [...host.available()]
    .sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name))
    .filter(({ name }) => name !== host.base())
    .map((file) => ({ name: file.name, note: fileNote(file) }));
  const chosenNames = new Set(readNames(host.getValue()));
  const toggle = (name) => {
    if (!chosenNames.delete(name)) chosenNames.add(name);
    host.commit(writeNames([...chosenNames]));
  };
  const again = async () => {
    closePopup();
    await host.refresh();
    pick(view, anchor.isConnected ? anchor : view.root.querySelector("[data-key=pick]"));
  };
  const all = (redraw, shown) => {
    for (const item of shown()) chosenNames.add(item.name);
    host.commit(writeNames([...chosenNames]));
    redraw();
  };
  openPicker(anchor, {
    label: t("pickModels"),
    items,
    chosen: chosenNames,
    onPick: toggle,
    footer: ({ redraw, shown }) =>
      el(
        "div.om-buttons",
        {},
        el("button.om-button", { type: "button", on: { click: again } }, icon("refresh"), t("refreshFiles")),
        el("button.om-button", { type: "button", on: { click: () => all(redraw, shown) } }, t("selectShown")),
      ),
  });
}
