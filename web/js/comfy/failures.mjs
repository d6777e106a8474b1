/**
 * Where a run stopped. The node itself says what is wrong and what to do, until its next run or edit.
 * Some releases of ComfyUI show the sentence in a window of their own, others only that something
 * failed: a toast tells it where ComfyUI does not.
 */
const failures = new WeakMap();
const nodes = new Set();
const listeners = new Set();

const OWN_WINDOW_MS = 400;

/**
 * @param {{addEventListener: Function}} api
 * @param {(node: object, text: string) => void} tell shows a toast
 */
export function watchFailures(api, tell) {
  api.addEventListener("execution_error", ({ detail }) => {
    const node = [...nodes].find((item) => isMeant(item, detail ?? {}));
    const text = String(detail?.exception_message ?? "").trim();
    if (!node || !text) return;
    setFailure(node, text);
    setTimeout(() => {
      if (!isOnScreen(text)) tell(node, text);
    }, OWN_WINDOW_MS);
  });
  api.addEventListener("execution_start", () => nodes.forEach((node) => setFailure(node, "")));
}

/** `detail.node_id` is "1:2:3" within sub-graphs: the last part is the node's own id. */
const isMeant = (node, { node_id, node_type }) =>
  node.comfyClass === node_type && String(node.id) === String(node_id).split(":").at(-1);

function setFailure(node, text) {
  if ((failures.get(node) ?? "") === text) return;
  failures.set(node, text);
  listeners.forEach((listener) => listener(node));
}

/** Whether ComfyUI shows these very words outside of our nodes. */
function isOnScreen(text) {
  const windows = globalThis.document?.querySelectorAll("[role=dialog], [role=alert], [role=alertdialog]") ?? [];
  return [...windows].some((item) => !item.closest(".om") && item.textContent.includes(text));
}

/** After an edit the sentence may no longer be true. */
export const forgetFailure = (node) => setFailure(node, "");
export const failureOf = (node) => failures.get(node) ?? "";
export const onFailure = (listener) => listeners.add(listener);

/** All our nodes that live. */
export const watchedNodes = () => [...nodes];

/** Looks after a node as long as it is in a graph. */
export function watchNode(node) {
  nodes.add(node);
  return () => nodes.delete(node);
}
