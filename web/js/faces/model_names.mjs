/** OrthoModelSet's value: one model name a line. Pure. */

export const readNames = (value) => [
  ...new Set(
    String(value ?? "")
      .split(/\r?\n/)
      .map((line) => line.trim())
      .filter(Boolean),
  ),
];

export const writeNames = (names) => names.join("\n");
