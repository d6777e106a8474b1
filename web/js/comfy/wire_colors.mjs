/** Colours of our wires and sockets. ComfyUI's palettes name only its own types. */

export const WIRE_COLORS = {
  ORTHO_MODELS: "#e5a158",
  ORTHO_ANALYSIS: "#5cc8c2",
  ORTHO_MIX: "#8fbf5f",
  ORTHO_RECIPE: "#e27d9c",
  ORTHO_GRID: "#a794f2",
  ORTHO_TRIAL: "#6f9bd8",
};

/** Give our types their colours, in both renderers and under every palette. */
export function colorWires(app) {
  const page = document.head.appendChild(document.createElement("style")).sheet;
  if (!page) return;
  for (const [type, color] of Object.entries(WIRE_COLORS)) {
    keep(app.canvas?.default_connection_color_byType, type, color);
    keep(globalThis.LGraphCanvas?.link_type_colors, type, color);
    // Nodes drawn by Vue read this name; a palette only ever sets or removes it on the page's root.
    page?.insertRule(`:root { --color-datatype-${type}: ${color}; }`);
  }
}

/** A palette writes an empty colour for every type that it does not know: then `color` counts. */
function keep(colors, type, color) {
  if (!colors) return;
  let chosen = colors[type];
  Object.defineProperty(colors, type, {
    configurable: true,
    enumerable: true,
    get: () => chosen || color,
    set: (value) => {
      chosen = value;
    },
  });
}
