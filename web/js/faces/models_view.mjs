/** OrthoModelSet's picker: a list of chosen files over a newline-separated string. */
import { el, focusedKey, focusKey, icon, iconButton, shield } from "../parts/dom.mjs";
import { readNames, writeNames } from "./model_names.mjs";
import { splitFolder } from "../parts/names.mjs";
import { openPicker } from "../parts/popup.mjs";
import { t } from "../parts/words.mjs";

/**
 * @param {{getValue: () => string, commit: (value: string) => void, base: () => string,
 *   available: () => string[], say: Function, resized: () => void}} host
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
  const known = new Set(host.available());
  const key = focusedKey(root);
  root.replaceChildren(
    el(
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
      names.length
        ? el(
            "button.om-button",
            { type: "button", data: { key: "clear" }, on: { click: () => host.commit("") } },
            t("clear"),
          )
        : null,
    ),
    el(
      "ul.om-chosen.om-scroll",
      {},
      names.length ? names.map((name) => chosen(name, known, view)) : el("li.om-empty", {}, t("allModels")),
    ),
  );
  focusKey(root, key);
  host.resized();
}

function chosen(name, known, { host }) {
  const [folder, leaf] = splitFolder(name);
  const isMissing = known.size > 0 && !known.has(name);
  const drop = () => host.commit(writeNames(readNames(host.getValue()).filter((other) => other !== name)));
  return el(
    "li",
    { class: isMissing ? "om-bad" : "" },
    el("span.om-chosen-name", { title: name }, folder ? el("span.om-note", {}, `${folder}/`) : null, leaf),
    isMissing ? el("span.om-problem.om-error", {}, icon("warn"), t("nothingFound")) : null,
    iconButton("cross", `${t("remove")}: ${name}`, drop, { data: { key: `drop:${name}` } }),
  );
}

function pick(view, anchor) {
  const { host } = view;
  const items = () =>
    host
      .available()
      .filter((name) => name !== host.base())
      .map((name) => ({ name }));
  const chosenNames = new Set(readNames(host.getValue()));
  const toggle = (name) => {
    if (!chosenNames.delete(name)) chosenNames.add(name);
    host.commit(writeNames([...chosenNames]));
  };
  openPicker(anchor, {
    label: t("pickModels"),
    items: items(),
    chosen: chosenNames,
    onPick: toggle,
    footer: ({ redraw, shown }) =>
      el(
        "div.om-buttons",
        {},
        el(
          "button.om-button",
          {
            type: "button",
            on: {
              click: () => {
                for (const item of shown()) chosenNames.add(item.name);
                host.commit(writeNames([...chosenNames]));
                redraw();
              },
            },
          },
          t("selectShown"),
        ),
      ),
  });
}
