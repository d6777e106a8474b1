/** ComfyUI's line of progress text under a node: it stays after a run, and takes the room of two rows. */

const NAME = "$$node-text-preview";

/** Takes the line away once the node shows its result. */
export function dropProgressText(node) {
  const widget = node.widgets?.find((item) => item.name === NAME);
  if (!widget || !node.removeWidget) return;
  const height = Number(widget.computedHeight ?? widget.element?.offsetHeight ?? 0);
  widget.onRemove?.();
  node.removeWidget(widget);
  const least = node.computeSize?.()[1] ?? 0;
  if (height > 0) node.setSize([node.size[0], Math.max(least, node.size[1] - height)]);
}
