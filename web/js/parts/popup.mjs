/** Things that float above the node: a panel, a menu, and a searchable list. One at a time. */
import { el, icon, shield, uniqueId } from "./dom.mjs";
import { filterItems, groupByFolder, splitFolder } from "./names.mjs";
import { t } from "./words.mjs";

/** @type {{close: () => void, panel: HTMLElement} | null} */
let openPanel = null;

export function closePopup() {
  openPanel?.close();
}

/**
 * A panel at `anchor`, in the page's body so that no node clips it. Escape or a click beside it closes.
 * @param {HTMLElement} anchor
 * @param {HTMLElement} content
 * @param {{label?: string, width?: number, onClose?: () => void}} [options]
 * @returns {{close: () => void, panel: HTMLElement}}
 */
export function openPopup(anchor, content, { label, width = 240, onClose } = {}) {
  closePopup();
  const abort = new AbortController();
  const panel = el(
    "div.om.om-panel",
    { role: "dialog", "aria-label": label, style: { "--om-width": `${width}px` } },
    content,
  );
  const backdrop = el("div.om-backdrop", {}, panel);
  const close = () => {
    if (openPanel?.panel !== panel) return;
    openPanel = null;
    abort.abort();
    const hadFocus = panel.contains(document.activeElement);
    backdrop.remove();
    if (hadFocus && anchor.isConnected) anchor.focus({ preventScroll: true });
    onClose?.();
  };
  openPanel = { panel, close };
  shield(backdrop, abort.signal);
  backdrop.addEventListener("pointerdown", (event) => {
    if (event.target === backdrop) close();
  });
  backdrop.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    close();
  });
  document.body.append(backdrop);
  place(panel, anchor.getBoundingClientRect());
  return openPanel;
}

function place(panel, anchor) {
  const { offsetWidth: width, offsetHeight: height } = panel;
  const below = window.innerHeight - anchor.bottom;
  const top = below >= height + 8 || below >= anchor.top ? anchor.bottom + 2 : anchor.top - height - 2;
  const clamp = (value, size, room) => Math.max(8, Math.min(value, room - size - 8));
  panel.style.left = `${clamp(anchor.left, width, window.innerWidth)}px`;
  panel.style.top = `${clamp(top, height, window.innerHeight)}px`;
}

/**
 * @param {HTMLElement} anchor
 * @param {string} label
 * @param {(import("./types").MenuItem | null)[]} items null draws a line
 */
export function openMenu(anchor, label, items) {
  const buttons = [];
  const list = el(
    "div.om-menu",
    { role: "menu", "aria-label": label },
    items.map((item) => {
      if (!item) return el("hr", { role: "separator" });
      const button = el(
        "button.om-menu-item",
        {
          type: "button",
          role: "menuitem",
          disabled: Boolean(item.disabled),
          tabIndex: -1,
          on: {
            click: () => {
              closePopup();
              item.action();
            },
          },
        },
        el("span", {}, item.label),
        item.keys ? el("kbd", {}, item.keys) : null,
      );
      if (!item.disabled) buttons.push(button);
      return button;
    }),
  );
  list.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(document.activeElement);
    const goals = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 };
    if (event.key === "Tab") closePopup();
    if (!(event.key in goals)) return;
    event.preventDefault();
    buttons.at(goals[event.key] % buttons.length)?.focus();
  });
  openPopup(anchor, list, { label, width: 200 });
  buttons[0]?.focus();
}

/**
 * A searchable list. `items`: {name, note?, disabled?}. With `chosen` (a Set) it stays open and toggles.
 * @param {HTMLElement} anchor
 * @param {{label: string, items: import("./types").PickerItem[], current?: string, chosen?: Set<string>,
 *   onPick: (name: string) => void, footer?: (list: {redraw: () => void, shown: () => {name: string}[]}) => HTMLElement}} options
 */
export function openPicker(anchor, { label, items, current, chosen, onPick, footer }) {
  const listId = uniqueId("om-list");
  const input = el("input.om-input", {
    type: "text",
    placeholder: t("search"),
    role: "combobox",
    autocomplete: "off",
    spellcheck: false,
    "aria-label": label,
    "aria-expanded": "true",
    "aria-controls": listId,
    "aria-autocomplete": "list",
  });
  const list = el("div.om-list.om-scroll", {
    id: listId,
    role: "listbox",
    "aria-label": label,
    "aria-multiselectable": chosen ? "true" : undefined,
  });
  /** @type {import("./types").PickerItem[]} */
  let shown = [];
  let active = 0;
  const isChosen = (item) => (chosen ? chosen.has(item.name) : item.name === current);
  const pick = (item) => {
    if (!item || item.disabled) return;
    if (!chosen) closePopup();
    onPick(item.name);
    if (chosen) draw();
  };
  const mark = () => {
    const options = [...list.querySelectorAll("[role=option]")];
    options.forEach((option, i) => option.classList.toggle("om-active", i === active));
    if (options[active]) input.setAttribute("aria-activedescendant", options[active].id);
    else input.removeAttribute("aria-activedescendant");
    options[active]?.scrollIntoView({ block: "nearest" });
  };
  const draw = () => {
    shown = groupByFolder(filterItems(items, input.value));
    active = Math.min(active, Math.max(0, shown.length - 1));
    let folder = "";
    list.replaceChildren(
      ...shown.flatMap((item, i) => {
        const [path, name] = splitFolder(item.name);
        const head =
          path !== folder && path ? [el("div.om-list-folder", { role: "presentation" }, icon("folder"), path)] : [];
        folder = path;
        return [
          ...head,
          el(
            "div.om-option",
            {
              id: `${listId}-${i}`,
              role: "option",
              "aria-selected": String(isChosen(item)),
              "aria-disabled": item.disabled ? "true" : undefined,
              title: item.label ?? item.name,
              on: {
                click: () => pick(item),
                pointerenter: () => {
                  active = i;
                  mark();
                },
              },
            },
            el("span.om-tick", {}, isChosen(item) ? icon("check") : ""),
            el("span.om-option-name", {}, item.label ?? name),
            item.note ? el("span.om-note", {}, item.note) : null,
          ),
        ];
      }),
    );
    if (!shown.length) list.append(el("div.om-empty", {}, t("nothingFound")));
    mark();
  };
  input.addEventListener("input", () => {
    active = 0;
    draw();
  });
  input.addEventListener("keydown", (event) => {
    const goals = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + 8, PageUp: active - 8 };
    if (event.key in goals) {
      event.preventDefault();
      active = Math.max(0, Math.min(shown.length - 1, goals[event.key]));
      mark();
    } else if (event.key === "Enter") {
      event.preventDefault();
      pick(shown[active]);
    } else if (event.key === "Tab") closePopup();
  });
  const actions = footer?.({ redraw: draw, shown: () => shown });
  openPopup(anchor, el("div.om-picker", {}, input, list, actions), { label, width: 300 });
  active = Math.max(
    0,
    groupByFolder(items).findIndex((item) => item.name === current),
  );
  draw();
  input.focus();
}
