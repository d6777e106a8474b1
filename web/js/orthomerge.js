/** Registration: the one file ComfyUI loads by itself. Everything else is imported from here. */
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { attachFace, restoreFace } from "./comfy/face_widget.mjs";
import { mixerWidget } from "./comfy/mixer_widget.mjs";
import { modelsWidget } from "./comfy/models_widget.mjs";
import { textureWidget } from "./comfy/texture_widget.mjs";
import { onRemoved, say } from "./comfy/edits.mjs";
import { onFailure, watchFailures, watchNode } from "./comfy/failures.mjs";
import { onPayload, remember } from "./comfy/payloads.mjs";
import { hasFace, isOurs } from "./comfy/pack_nodes.mjs";
import { loadStyle } from "./comfy/style.mjs";
import { colorWires } from "./comfy/wire_colors.mjs";
import { LANGUAGE_SETTING, loadWords } from "./comfy/locale.mjs";

const views = new Set();
onPayload(() => views.forEach((view) => view.refresh()));
onFailure((node) => {
  views.forEach((view) => view.refresh());
  if (hasFace(node)) attachFace(node, app);
});

app.registerExtension({
  name: "orthomerge.studio",
  settings: [LANGUAGE_SETTING],
  async init() {
    loadStyle(new URL("./orthomerge.css", import.meta.url));
    watchFailures(api, (node, text) => say(app, text, "error", node.title));
    await loadWords(app, api);
  },
  setup() {
    colorWires(app);
  },
  getCustomWidgets: () => ({
    ORTHOMERGE_TABLE: (node, name, data) => mixerWidget({ app, api, views, node, name, data }),
    ORTHOMERGE_MODEL: (node, name, data) => textureWidget({ app, views, node, name, data }),
    ORTHOMERGE_MODELS: (node, name, data) => modelsWidget({ app, api, node, name, data }),
  }),
  nodeCreated(node) {
    if (!isOurs(node)) return;
    onRemoved(node, "onRemoved", watchNode(node));
    const before = node.onExecuted;
    node.onExecuted = function onExecuted(output) {
      before?.apply(this, arguments);
      remember(this, output);
      if (hasFace(this)) attachFace(this, app);
    };
    if (!hasFace(node)) return;
    const configured = node.onConfigure;
    node.onConfigure = function onConfigure() {
      configured?.apply(this, arguments);
      restoreFace(this, app);
    };
  },
});
