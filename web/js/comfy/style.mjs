/** Adds our style sheet once. */

/** @param {URL} url */
export function loadStyle(url) {
  if (document.querySelector("link[data-orthomerge]")) return;
  const link = document.createElement("link");
  link.rel = "stylesheet";
  link.href = url.href;
  link.dataset.orthomerge = "";
  document.head.append(link);
}
