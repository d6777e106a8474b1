/**
 * JSON as plain ASCII, with the same meaning: older pages copy a node with `btoa`, which takes nothing else.
 * @param {string} json
 */
export const ascii = (json) =>
  json.replace(/[\u0080-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
