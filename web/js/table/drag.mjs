/** Moving a row by its handle. */

/** @returns {(index: number, event: PointerEvent, handle: HTMLElement) => void} */
export function rowDragging(view) {
  return (index, down, handle) => {
    if (down.button !== 0) return;
    down.preventDefault();
    handle.focus({ preventScroll: true });
    handle.setPointerCapture(down.pointerId);
    const rows = [...view.root.querySelectorAll("tbody tr.om-row")];
    const row = view.body.rowAt(index);
    if (!row) return;
    const indexOf = (item) => Number(item.dataset.index);
    row.classList.add("om-dragged");
    let target = index;
    const onMove = (event) => {
      target = indexOf(rowAt(rows, event.clientY));
      rows.forEach((item) => {
        const isTarget = indexOf(item) === target;
        item.classList.toggle("om-drop-above", isTarget && target < index);
        item.classList.toggle("om-drop-below", isTarget && target > index);
      });
    };
    const stop = (commit) => () => {
      ac.abort();
      rows.forEach((item) => item.classList.remove("om-dragged", "om-drop-above", "om-drop-below"));
      if (commit) view.act.move(index, target, "handle");
    };
    const ac = new AbortController();
    handle.addEventListener("pointermove", onMove, { signal: ac.signal });
    handle.addEventListener("pointerup", stop(true), { signal: ac.signal });
    handle.addEventListener("pointercancel", stop(false), { signal: ac.signal });
  };
}

function rowAt(rows, y) {
  return rows.find((row) => y < row.getBoundingClientRect().bottom) ?? rows.at(-1);
}
