/**
 * One row of the table as elements. What a click means is the view's business (`act`).
 *
 * @typedef {import("./types").Actions} Actions
 * @typedef {import("./types").Entry} Entry
 * @typedef {import("./types").Notice} Notice
 */
import { alphaCell, barCell, choiceButton } from "../parts/cells.mjs";
import { el, icon, iconButton } from "../parts/dom.mjs";
import { splitFolder } from "../parts/names.mjs";
import { percent } from "../parts/numbers.mjs";
import { t } from "../parts/words.mjs";
import { LABEL, SHOWN, hintFor, layersField, repeatChoice, textField } from "./fields.mjs";
import { shortName } from "./notices.mjs";

/** Columns of an entry that differ from what the optimizer proposes. */
export function changedColumns({ row, proposed, touched }) {
  if (!touched.length || !proposed) return [];
  return Object.keys(SHOWN).filter((column) => row[column] !== proposed[column]);
}

/**
 * @param {{entry: Entry, index: number, figures: import("./types").Figures | null, notices: Notice[], hasText: boolean, act: Actions}} item
 */
export function rowElement({ entry, index, figures, notices, hasText, act }) {
  const { row } = entry;
  const changed = changedColumns(entry);
  const key = (column) => `${index}:${column}`;
  const cell = (column, ...children) =>
    el("td", { role: "cell", class: `om-c-${column} ${changed.includes(column) ? "om-changed" : ""}` }, ...children);
  const worst = notices.some((n) => n.tone === "error")
    ? "om-bad"
    : notices.some((n) => n.tone === "warning")
      ? "om-careful"
      : "";
  return el(
    "tr.om-row",
    {
      role: "row",
      "aria-rowindex": index + 2,
      class: `${row.enabled ? "" : "om-off"} ${worst} ${changed.length ? "om-touched" : ""}`,
      data: { index },
    },
    cell("enabled", handle(row, index, key, act), toggle(row, index, key, act)),
    modelCell(entry, index, changed, notices, key, act),
    cell(
      "delta_from",
      choiceButton({
        text: shortName(row.delta_from),
        label: `${row.model}: ${t("from")} ${shortName(row.delta_from)}`,
        help: `${t("fromHelp")}\n${row.delta_from}`,
        key: key("delta_from"),
        onOpen: (button) => act.pickParent(index, button),
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
    cell("text", hasText ? textField(entry, index, key, act) : null),
    cell("repeat", repeatChoice(entry, index, key, act)),
    cell("layers", layersField(entry, index, notices, key, act)),
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

/** @param {import("./types").Figures | null} figures */
export function figureCells(figures) {
  const figure = (name, share, text, tone, more = "") =>
    el(
      "td.om-c-figure",
      { role: "cell", class: `om-c-${name}`, data: { figure: name } },
      barCell({
        share,
        text,
        tone,
        label: t(name),
        help: t(`${name}Help`) + more,
        estimate: name === "kept" && figures?.exact === false,
      }),
    );
  const { size, relative, fresh, kept } = figures ?? {};
  const isKnown = (value) => value !== undefined && value !== null;
  const doubt = figures?.exact === false ? `\n${t("keptEstimate")}` : "";
  const much = isKnown(kept) && Number(kept) > 1.1 ? `\n${t("keptMuch")}` : "";
  return [
    figure("size", relative, size === undefined ? "" : shortSize(size), "om-tone-size"),
    figure("fresh", fresh, isKnown(fresh) ? percent(fresh, 0) : "", "om-tone-fresh"),
    figure(
      "kept",
      kept,
      isKnown(kept) ? percent(kept, 0) : "",
      Number(kept) > 1.1 ? "om-tone-much" : "om-tone-kept",
      doubt + much,
    ),
  ];
}

function shortSize(value) {
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

function modelCell(entry, index, changed, notices, key, act) {
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
      onOpen: (button) => act.pickModel(index, button),
    }),
    secondLine(entry, index, changed, notices, act),
  );
}

/** One line of one height: what was changed, then the worst notice, else the proposal's reason. */
function secondLine(entry, index, changed, notices, act) {
  const { row, proposed } = entry;
  const [first, ...more] = notices.filter((notice) => !notice.isTold);
  const isStillTrue = !proposed || (row.delta_from === proposed.delta_from && row.model === proposed.model);
  const reason = !first && row.info && isStillTrue ? el("span.om-info", { title: row.info }, row.info) : null;
  return el(
    "div.om-lines",
    {},
    changed.length ? changeLine(entry, index, changed, act) : null,
    first ? noticeLine(first, more.length, act) : null,
    reason,
  );
}

const TONES = { error: "om-error", warning: "om-warning", info: "om-note-line" };

/** @param {Notice} notice */
export function noticeLine(notice, more, act) {
  const { tone, text, enable = [], action, isNew } = notice;
  const button = (label, run, key) =>
    el("button.om-link", { type: "button", data: { key }, on: { click: run } }, label);
  const names = enable.map((name) => splitFolder(name)[1]).join(", ");
  return el(
    "div.om-problem",
    { class: TONES[tone], title: text },
    icon(tone === "info" ? "info" : "warn"),
    el("span.om-problem-text", {}, text),
    more ? el("span.om-badge", {}, `+${more}`) : null,
    enable.length
      ? button(t(isNew ? "addModel" : "enable", { model: names }), () => act.enable(...enable), `remedy:${enable[0]}`)
      : null,
    action ? button(action.label, action.run, `action:${notice.code}`) : null,
  );
}

function changeLine({ row, proposed }, index, changed, act) {
  return el(
    "div.om-change",
    {},
    el("span.om-dot", {}),
    ...changed.map((column) => {
      const [before, now] = [SHOWN[column](proposed[column]), SHOWN[column](row[column])];
      return el(
        "button.om-link",
        {
          type: "button",
          title: t("resetCell", { value: before }),
          "aria-label": `${t(LABEL[column])} ${now}. ${t("resetCell", { value: before })}`,
          on: { click: () => act.resetCell(index, column) },
        },
        `${t(LABEL[column])} `,
        el("s", {}, before),
        icon("undo"),
      );
    }),
  );
}
