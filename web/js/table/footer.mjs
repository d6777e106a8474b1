/**
 * Beneath the rows: one line that sums up what there is to say, and the merge in symbols.
 *
 * @typedef {import("./types").View} View
 */
import { el, icon } from "../parts/dom.mjs";
import { closePopup, openPopup } from "../parts/popup.mjs";
import { t } from "../parts/words.mjs";
import { formula } from "./formula.mjs";
import { summarize } from "./notices.mjs";
import { noticeLine } from "./row.mjs";

/** @param {View} view */
export function footer(view) {
  const { shown, words } = summarize(view.notices);
  const isLoud = shown?.code === "failure" || shown?.tone === "error";
  const rows = view.state.entries.map((entry) => entry.row);
  return el(
    "div.om-footer",
    {},
    shown || words
      ? el(
          "div.om-summary-line",
          { role: isLoud ? "alert" : undefined },
          shown ? noticeLine(shown, 0, view.act) : null,
          words || view.notices.length > 1 ? listButton(view, words) : null,
        )
      : null,
    el("div.om-formula", { role: "region", tabIndex: 0, "aria-label": t("formula") }, formulaText(view, rows)),
  );
}

function listButton(view, words) {
  const worst = view.notices.some((notice) => notice.tone === "error")
    ? "om-error"
    : words
      ? "om-warning"
      : "om-note-line";
  return el(
    "button.om-link.om-list-button",
    {
      type: "button",
      class: worst,
      "aria-haspopup": "dialog",
      data: { key: "notices" },
      on: { click: (event) => view.act.notices(event.currentTarget) },
    },
    icon(words ? "warn" : "info"),
    el("span.om-problem-text", {}, words || t("count_note", { count: view.notices.length })),
    icon("down"),
  );
}

/** Every notice in full, with its row and its way out. */
export function openNotices(view, anchor) {
  const items = view.notices.map((notice) => {
    const name = notice.row >= 0 ? view.state.entries[notice.row]?.row.model : null;
    const after = (run) => () => {
      closePopup();
      run();
    };
    const line = noticeLine(
      notice.action ? { ...notice, action: { ...notice.action, run: after(notice.action.run) } } : notice,
      0,
      { ...view.act, enable: (...names) => after(() => view.act.enable(...names))() },
    );
    return el(
      "li",
      {},
      name
        ? el(
            "button.om-link",
            { type: "button", on: { click: after(() => view.act.goTo(notice.row)) } },
            `${notice.row + 1} · ${name}`,
          )
        : null,
      line,
    );
  });
  const { panel } = openPopup(
    anchor,
    el("ul.om-notices.om-scroll", { tabIndex: 0, "aria-label": t("notices") }, items),
    {
      label: t("notices"),
      width: 460,
    },
  );
  /** @type {HTMLElement | null} */ (panel.querySelector("button, ul"))?.focus();
}

/** @param {View} view */
export function formulaText(view, rows) {
  const { host } = view;
  const { model: textureModel, alpha: textureAlpha } = host.texture();
  return formula(rows, { method: host.method(), textureModel, textureAlpha });
}
