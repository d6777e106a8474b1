/** Colours of our wires and sockets. ComfyUI's palettes name only its own types. */

export const WIRE_COLORS = {
  ORTHO_MODELS: "#e5a158",
  ORTHO_ANALYSIS: "#5cc8c2",
  ORTHO_MIX: "#8fbf5f",
  ORTHO_RECIPE: "#e27d9c",
};

/** Give our types their colours now, and again whenever ComfyUI has loaded another palette. */
export function colorWires(app) {
  const paint = () => {
    fill(app.canvas?.default_connection_color_byType);
    fill(globalThis.LGraphCanvas?.link_type_colors);
    app.canvas?.setDirty?.(true, true);
  };
  for (const [type, color] of Object.entries(WIRE_COLORS)) {
    // Nodes drawn by Vue read this name; a palette only ever sets or removes it on the page's root.
    style().insertRule(`:root { --color-datatype-${type}: ${color}; }`);
  }
  paint();
  // The palette is applied after the setting has changed.
  app.ui?.settings?.addEventListener?.("Comfy.ColorPalette.change", () => setTimeout(paint, 0));
}

function fill(colors) {
  for (const [type, color] of Object.entries(WIRE_COLORS)) {
    if (colors && !colors[type]) colors[type] = color;
  }
}

function style() {
  const id = "orthomerge-wire-colors";
  const found = document.getElementById(id) ?? document.head.appendChild(document.createElement("style"));
  found.id = id;
  return found.sheet;
}
