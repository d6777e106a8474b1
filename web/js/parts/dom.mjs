/** Small element makers. Text always goes in as text: model names come from file names. */

/**
 * @template {string} T
 * @param {T} tag with optional classes: "div.om-bar"
 * @param {Record<string, any>} props `on` holds listeners, `data` dataset, `style` properties;
 *   aria-*, role and the like become attributes; the rest are properties.
 * @param {import("./types").Child[]} children
 * @returns {import("./types").ElementOf<T>}
 */
export function el(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const node = document.createElement(name);
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(props)) setProp(node, key, value);
  node.append(
    .../** @type {any[]} */ (children.flat(9)).filter(
      (child) => child !== null && child !== undefined && child !== false,
    ),
  );
  return /** @type {any} */ (node);
}

function setProp(node, key, value) {
  if (value === undefined || value === null) return;
  if (key === "on") {
    for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
  } else if (key === "data") Object.assign(node.dataset, value);
  else if (key === "style") {
    for (const [name, entry] of Object.entries(value)) node.style.setProperty(name, entry);
  } else if (key === "class") node.classList.add(...String(value).split(" ").filter(Boolean));
  else if (key === "value" && "defaultValue" in node) node.defaultValue = node.value = String(value);
  else if (key in node && !key.startsWith("aria")) node[key] = value;
  else node.setAttribute(key, String(value));
}

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
  grip: "M6 4h.01M10 4h.01M6 8h.01M10 8h.01M6 12h.01M10 12h.01",
  more: "M8 3.5h.01M8 8h.01M8 12.5h.01",
  plus: "M8 3v10M3 8h10",
  down: "M4.5 6.5 8 10l3.5-3.5",
  undo: "M3 6h6.5a3.5 3.5 0 0 1 0 7H6M3 6l3-3M3 6l3 3",
  check: "M3.5 8.5 6.5 11.5 12.5 4.5",
  warn: "M8 2.5 14 13H2ZM8 6.5v3M8 11.4h.01",
  cross: "M4 4l8 8M12 4l-8 8",
  info: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 7.5v3.5M8 5h.01",
  sliders: "M3 5h5M11 5h2M3 11h2M8 11h5M9.5 3.5v3M6.5 9.5v3",
  refresh: "M13 8a5 5 0 1 1-1.5-3.6M13 2.5v3h-3",
  folder: "M2 4.5h4l1.5 1.5H14v6.5H2Z",
};

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", `om-icon om-icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon and a spoken name. */
export function iconButton(name, label, onClick, props = {}) {
  return el(
    "button.om-button.om-icon-button",
    {
      type: "button",
      title: label,
      "aria-label": label,
      ...props,
      on: { click: onClick, ...props.on },
    },
    icon(name),
  );
}

/** The `data-key` of the focused control inside `root`, or null. */
export function focusedKey(root) {
  const active = /** @type {HTMLElement | null} */ (document.activeElement);
  return active && root.contains(active) ? (active.dataset.key ?? null) : null;
}

/** Focuses the control with this `data-key`; false where there is none. */
export function focusKey(root, key) {
  const found = key ? root.querySelector(`[data-key="${CSS.escape(key)}"]`) : null;
  found?.focus({ preventScroll: true });
  return Boolean(found);
}

let lastId = 0;
export const uniqueId = (prefix) => `${prefix}-${(lastId += 1)}`;

/** Keeps events of our controls from the canvas beneath; lets the shortcuts of the page through. */
export function shield(root, signal) {
  const stop = (event) => event.stopPropagation();
  for (const type of [
    "pointerdown",
    "pointermove",
    "pointerup",
    "mousedown",
    "dblclick",
    "contextmenu",
    "copy",
    "paste",
    "cut",
  ]) {
    root.addEventListener(type, stop, { signal });
  }
  root.addEventListener(
    "keydown",
    (event) => {
      const isPageShortcut =
        (event.ctrlKey || event.metaKey) && ["enter", "s", "z", "y"].includes(event.key.toLowerCase());
      if (!isPageShortcut) event.stopPropagation();
    },
    { signal },
  );
  root.addEventListener(
    "wheel",
    (event) => {
      const area = event.target.closest?.(".om-scroll");
      const room = area && area.scrollHeight > area.clientHeight + 1;
      if (room && !event.ctrlKey && !event.metaKey) event.stopPropagation();
    },
    { signal, passive: true },
  );
}
