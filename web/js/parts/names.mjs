/** Names of models with sub-folders. Pure. */

/** "sub/folder/name" → ["sub/folder", "name"]; either separator. */
export function splitFolder(name) {
  const at = Math.max(name.lastIndexOf("/"), name.lastIndexOf("\\"));
  return at < 0 ? ["", name] : [name.slice(0, at), name.slice(at + 1)];
}

const stem = (name) => splitFolder(name)[1].replace(/\.[^.]+$/, "");

/** File names as a person sorts them: by folder, then stem ("ink" before "ink-fine"), numbers by size. */
export const sortNames = (names) =>
  [...names].sort((a, b) => {
    const folders = splitFolder(a)[0].localeCompare(splitFolder(b)[0], "en", { numeric: true });
    return folders || stem(a).localeCompare(stem(b), "en", { numeric: true }) || (a < b ? -1 : 1);
  });

/** Items whose name holds every typed word. */
export function filterItems(items, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return items.filter((item) => words.every((word) => item.name.toLowerCase().includes(word)));
}

/**
 * Items of the top folder first, then folder by folder, each in its given order.
 * @template {{name: string}} T
 * @param {T[]} items
 */
export function groupByFolder(items) {
  /** @type {Map<string, T[]>} */
  const groups = new Map([["", []]]);
  for (const item of items) {
    const [folder] = splitFolder(item.name);
    if (!groups.has(folder)) groups.set(folder, []);
    groups.get(folder)?.push(item);
  }
  return [...groups.values()].flat();
}
