/** The chosen method's own options with their help, and nothing of other methods. */
import { numberInput } from "../parts/cells.mjs";
import { el, iconButton, icon } from "../parts/dom.mjs";
import { t } from "../parts/words.mjs";

/**
 * @param {{method: string, schema: {label?: string, summary?: string, params: object[]} | undefined,
 *   values: Record<string, unknown>, open: boolean, onToggle: (open: boolean) => void,
 *   onChange: (param: object, value: unknown) => void}} item
 */
export function optionsPanel({ method, schema, values, open, onToggle, onChange }) {
  const params = schema?.params ?? [];
  const label = schema?.label ?? method;
  const changed = params.filter((p) => (values[p.name] ?? p.default) !== usual(p)).length;
  const details = el(
    "details.om-options",
    { open },
    el(
      "summary",
      { data: { key: "options" } },
      icon("down"),
      el("span", {}, t("options", { method: label })),
      changed ? el("span.om-badge", {}, t("optionsChanged", { count: changed })) : null,
    ),
  );
  // The toggle event comes a moment after the click; a result that arrives in between draws anew.
  details.querySelector("summary")?.addEventListener("click", () => onToggle(!details.open));
  details.addEventListener("toggle", () => onToggle(details.open));
  if (schema?.summary) details.append(el("p.om-summary", {}, schema.summary));
  if (!params.length) details.append(el("p.om-summary", {}, t("noOptions", { method: label })));
  else
    details.append(
      el("div.om-option-grid", {}, ...params.map((p) => optionField(p, values[p.name] ?? p.default, onChange))),
    );
  return details;
}

/** What a new mix has. */
const usual = (param) => param.suggested ?? param.default;

function optionField(param, value, onChange) {
  const back = usual(param);
  const isChanged = value !== back;
  const words = param.name.replaceAll("_", " ");
  const shown = typeof back === "boolean" ? (back ? t("yes") : t("no")) : String(back);
  return el(
    "div.om-field",
    { class: isChanged ? "om-changed" : "" },
    el(
      "div.om-field-head",
      {},
      el("span.om-field-name", {}, words),
      control(param, value, words, onChange),
      isChanged ? iconButton("undo", t("resetOption", { value: shown }), () => onChange(param, back)) : null,
    ),
    el("p.om-help", {}, param.help),
  );
}

function control(param, value, words, onChange) {
  const key = `option:${param.name}`;
  if (param.kind === "flag") {
    return el(
      "label.om-check",
      {},
      el("input", {
        type: "checkbox",
        checked: value === true,
        "aria-label": words,
        data: { key },
        on: { change: (event) => onChange(param, event.target.checked) },
      }),
      el("span.om-box", {}, icon("check")),
    );
  }
  if (param.kind === "choice") {
    const select = el(
      "select.om-input",
      { "aria-label": words, data: { key } },
      ...param.choices.map((choice) => el("option", { value: choice, selected: choice === value }, choice)),
    );
    select.addEventListener("change", () => onChange(param, select.value));
    return select;
  }
  const low = param.minimum ?? -1e9;
  const high = param.maximum ?? 1e9;
  const integer = param.kind === "integer";
  return numberInput({
    value,
    low,
    high,
    label: words,
    key,
    help: `${low} … ${high}`,
    integer,
    step: integer ? 1 : Math.max(0.001, (Math.min(high, 10) - Math.max(low, -10)) / 100),
    onCommit: (v) => onChange(param, v),
  });
}
