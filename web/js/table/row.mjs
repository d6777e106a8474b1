/** One row of the table as elements. What a click means is the view's business (`act`). */
import { alphaCell, barCell, choiceButton, showNumber } from "../parts/cells.mjs";
import { el, icon, iconButton } from "../parts/dom.mjs";
import { layersTrouble } from "./layers.mjs";
import { splitFolder } from "../parts/names.mjs";
import { BASE } from "./rules.mjs";
import { t } from "../parts/words.mjs";

const SHOWN = {
  enabled: (v) => (v ? t("yes") : t("no")),
  alpha: showNumber,
  repeat: (v) => `${v}×`,
  layers: (v) => v || t("allLayers"),
  delta_from: (v) => parentName(v),
  model: (v) => splitFolder(v)[1],
};
const LABEL = { enabled: "on", model: "model", delta_from: "from", alpha: "alpha", repeat: "repeat", layers: "layers" };
const percent = (share) => `${String(Math.round(share * 100)).replace("-", "−")} %`;

export const parentName = (name) => (name === BASE ? t("base") : splitFolder(name)[1]);

/** Columns of an entry that differ from what the optimizer proposes. */
export function changedColumns({ row, proposed, touched }) {
  if (!touched.length || !proposed) return [];
  return Object.keys(SHOWN).filter((column) => row[column] !== proposed[column]);
}

/**
 * @param {{entry: object, index: number, figures: object | null, problems: object[], act: object}} item
 */
export function rowElement({ entry, index, figures, problems, act }) {
  const { row } = entry;
  const changed = changedColumns(entry);
  const key = (column) => `${index}:${column}`;
  const cell = (column, ...children) =>
    el("td", { role: "cell", class: `om-c-${column} ${changed.includes(column) ? "om-changed" : ""}` }, ...children);
  const worst = problems.some((p) => p.severity === "error") ? "om-bad" : problems.length ? "om-careful" : "";
  return el(
    "tr.om-row",
    {
      role: "row",
      class: `${row.enabled ? "" : "om-off"} ${worst} ${changed.length ? "om-touched" : ""}`,
      data: { index },
    },
    cell("enabled", handle(row, index, key, act), toggle(row, index, key, act)),
    modelCell(entry, index, changed, problems, key, act),
    cell(
      "delta_from",
      choiceButton({
        text: parentName(row.delta_from),
        label: `${row.model}: ${t("from")} ${parentName(row.delta_from)}`,
        help: `${t("fromHelp")}\n${row.delta_from}`,
        key: key("delta_from"),
        onOpen: (b) => act.pickParent(index, b),
      }),
    ),
    cell(
      "alpha",
      alphaCell({
        value: row.alpha,
        label: row.model,
        help: hintFor("alpha", entry, t("alphaHelp")),
        keys: { slider: key("slider"), input: key("alpha") },
        onPreview: (v) => act.preview(index, "alpha", v),
        onCommit: (v) => act.set(index, "alpha", v),
      }),
    ),
    cell("repeat", repeatChoice(entry, index, key, act)),
    cell("layers", layersInput(entry, index, key, act)),
    ...figureCells(figures),
    cell(
      "menu",
      iconButton("more", `${row.model}: ${t("menu")}`, (event) => act.menu(index, event.currentTarget), {
        "aria-haspopup": "menu",
        data: { key: key("menu") },
      }),
    ),
  );
}

export function figureCells(figures) {
  const figure = (name, share, text, tone) =>
    el(
      "td.om-c-figure",
      { role: "cell", class: `om-c-${name}`, data: { figure: name } },
      barCell({
        share,
        text,
        tone,
        label: t(name),
        help: t(`${name}Help`) + (figures?.exact === false && name === "kept" ? `\n${t("keptEstimate")}` : ""),
        estimate: name === "kept" && figures?.exact === false,
      }),
    );
  const { size, relative, fresh, kept } = figures ?? {};
  return [
    figure("size", relative, size === undefined ? "" : shortNumber(size), "om-tone-size"),
    figure("fresh", fresh, fresh === undefined || fresh === null ? "" : percent(fresh), "om-tone-fresh"),
    figure("kept", kept, kept === undefined || kept === null ? "" : percent(kept), "om-tone-kept"),
  ];
}

function shortNumber(value) {
  if (value === 0) return "0";
  if (value >= 1000 || value < 0.01) return value.toExponential(0).replace("e+", "e");
  return value.toPrecision(value >= 100 ? 3 : 2);
}

function handle(row, index, key, act) {
  const button = iconButton("grip", `${t("move")}: ${row.model} (Alt ↑ ↓)`, () => {}, {
    class: "om-handle",
    data: { key: key("handle") },
  });
  button.addEventListener("pointerdown", (event) => act.drag(index, event, button));
  button.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: -1, ArrowDown: 1 };
    if (!(event.key in steps) || event.altKey) return;
    event.preventDefault();
    act.move(index, index + steps[event.key], "handle");
  });
  return button;
}

function toggle(row, index, key, act) {
  return el(
    "label.om-check",
    { title: t("toggleRow", { model: row.model }) },
    el("input", {
      type: "checkbox",
      checked: row.enabled,
      "aria-label": t("toggleRow", { model: row.model }),
      data: { key: key("enabled") },
      on: { change: (event) => act.set(index, "enabled", event.target.checked) },
    }),
    el("span.om-box", {}, icon("check")),
  );
}

function modelCell(entry, index, changed, problems, key, act) {
  const { row } = entry;
  const [folder, name] = splitFolder(row.model);
  return el(
    "th.om-c-model",
    { role: "rowheader", scope: "row", class: changed.includes("model") ? "om-changed" : "" },
    choiceButton({
      text: name,
      label: `${t("row", { number: index + 1 })}: ${row.model}`,
      help: row.model,
      key: key("model"),
      classes: folder ? "om-has-folder" : "",
      onOpen: (b) => act.pickModel(index, b),
    }),
    el(
      "div.om-lines",
      {},
      ...problems.map((p) => problemLine(p, index, act)),
      changed.length ? changeLine(entry, index, changed, act) : null,
      row.info ? el("div.om-info", { title: row.info }, row.info) : null,
    ),
  );
}

function problemLine(problem, index, act) {
  const { code, parent, model, part, severity } = problem;
  const button = (label, action) => el("button.om-link", { type: "button", on: { click: action } }, label);
  const wayOut =
    code === "parent_off"
      ? button(
          problem.hasRow ? t("enable", { model: parentName(parent) }) : t("addModel", { model: parentName(parent) }),
          () => act.enable(parent),
        )
      : null;
  const text = t(code, { model: splitFolder(model)[1], parent: parentName(parent), part });
  return el(
    "div.om-problem",
    { class: severity === "error" ? "om-error" : "om-warning", title: text },
    icon("warn"),
    el("span", {}, text),
    wayOut,
  );
}

function changeLine({ row, proposed }, index, changed, act) {
  return el(
    "div.om-change",
    {},
    el("span.om-dot", {}),
    ...changed.map((column) =>
      el(
        "button.om-link",
        {
          type: "button",
          title: t("resetCell", { value: SHOWN[column](proposed[column]) }),
          "aria-label": `${t(LABEL[column])} ${SHOWN[column](row[column])}. ${t("resetCell", { value: SHOWN[column](proposed[column]) })}`,
          on: { click: () => act.resetCell(index, column) },
        },
        `${t(LABEL[column])} `,
        el("s", {}, SHOWN[column](proposed[column])),
        icon("undo"),
      ),
    ),
  );
}

function hintFor(column, { row, proposed }, help) {
  if (!proposed || proposed[column] === row[column]) return help;
  return `${t("proposed", { value: SHOWN[column](proposed[column]) })}\n${help}`;
}

function repeatChoice(entry, index, key, act) {
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

function layersInput(entry, index, key, act) {
  const { row } = entry;
  const input = el("input.om-input.om-layers", {
    type: "text",
    value: row.layers,
    placeholder: t("allLayers"),
    spellcheck: false,
    autocomplete: "off",
    title: hintFor("layers", entry, row.layers ? `${row.layers}\n${t("layersHelp")}` : t("layersHelp")),
    "aria-label": `${row.model}: ${t("layers")}`,
    data: { key: key("layers") },
  });
  const check = () => {
    const trouble = layersTrouble(input.value);
    if (trouble) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
    if (trouble) input.title = t(trouble.code, trouble);
  };
  check();
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
  return input;
}
