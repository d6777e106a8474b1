/** Registration: the one file ComfyUI loads by itself. Everything else is imported from here. */
import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { labelNode, noteDefs } from "./comfy/defs.mjs";
import { askServer } from "./comfy/context.mjs";
import { oncePerFrame, onRemoved, say } from "./comfy/edits.mjs";
import { attachFace, markFace, restoreFace } from "./comfy/face_widget.mjs";
import { onFailure, watchedNodes, watchFailures, watchNode } from "./comfy/failures.mjs";
import { LANGUAGE_SETTING, loadWords } from "./comfy/locale.mjs";
import { mixerWidget } from "./comfy/mixer_widget.mjs";
import { modelsWidget } from "./comfy/models_widget.mjs";
import { hasFace, hasTable, isOurs } from "./comfy/pack_nodes.mjs";
import { carryWithCopies, noteAsked, onResult, remember, takeCarried } from "./comfy/results.mjs";
import { dropProgressText } from "./comfy/progress.mjs";
import { onMembers } from "./comfy/server_lists.mjs";
import { loadStyle } from "./comfy/style.mjs";
import { textureWidget } from "./comfy/texture_widget.mjs";
import { colorWires } from "./comfy/wire_colors.mjs";

const views = new Set();
const refreshViews = () => views.forEach((view) => view.refresh());
/** After any edit: tables follow their wires, faces say whether they are still of this graph. */
const afterEdit = oncePerFrame(() => {
  refreshViews();
  for (const node of watchedNodes()) if (node.graph && hasFace(node)) markFace(node, app);
});

onResult(afterEdit);
onMembers(afterEdit);
onFailure((node) => {
  refreshViews();
  if (hasFace(node)) attachFace(node, app);
});

app.registerExtension({
  name: "orthomerge.studio",
  settings: [LANGUAGE_SETTING],
  async init() {
    askServer(api);
    loadStyle(new URL("./orthomerge.css", import.meta.url));
    watchFailures(api, (node, text) => say(app, text, "error", node.title));
    api.addEventListener("graphChanged", afterEdit);
    await loadWords(app, api);
  },
  setup() {
    colorWires(app);
  },
  addCustomNodeDefs: (defs) => noteDefs(defs, app),
  getCustomWidgets: () => ({
    ORTHOMERGE_TABLE: (node, name, data) => mixerWidget({ app, api, views, node, name, data }),
    ORTHOMERGE_MODEL: (node, name, data) => textureWidget({ app, views, node, name, data }),
    ORTHOMERGE_MODELS: (node, name, data) => modelsWidget({ app, api, node, name, data }),
  }),
  nodeCreated(node) {
    if (!isOurs(node)) return;
    labelNode(node, app);
    onRemoved(node, "onRemoved", watchNode(node));
    if (hasTable(node)) carryWithCopies(node);
    chain(node, "onExecuted", (output) => {
      remember(node, output);
      dropProgressText(node);
      if (hasFace(node)) attachFace(node, app);
    });
    chain(node, "onConfigure", () => {
      takeCarried(node);
      if (hasFace(node)) restoreFace(node, app);
      afterEdit();
    });
    chain(node, "onConnectionsChange", afterEdit);
    const [first] = node.widgets ?? [];
    if (first) chain(first, "beforeQueued", () => noteAsked(watchedNodes()));
    for (const widget of node.widgets ?? []) chain(widget, "callback", afterEdit);
  },
});

/** Adds to a method of a node or widget without taking its own away. */
function chain(owner, name, action) {
  const before = owner[name];
  owner[name] = function chained() {
    const answer = before?.apply(this, arguments);
    action.apply(this, arguments);
    return answer;
  };
}
