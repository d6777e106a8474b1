/**
 * Blocks of Stable Diffusion's U-Nets as block merges name them: BASE, IN00–IN11, M00, OUT00–OUT11;
 * SDXL has IN00–IN08 and OUT00–OUT08. Pure; the same rules as `orthomerge_core/recipe/sd_blocks.py`.
 *
 * @typedef {{kind: string, low: number, high: number}} SdBlocks
 */

const ALIAS = /^(?:(BASE)|(M00|MID(?:00)?)|(IN|OUT)(\d\d?)(?:-(?:IN|OUT)?(\d\d?))?)$/i;
const NUMBER = "[+-]?(?:\\d+\\.?\\d*|\\.\\d+)(?:[eE][+-]?\\d+)?";
const NUMBERS = new RegExp(`^\\s*${NUMBER}(?:[\\s,;]+${NUMBER})+[\\s,;]*$`);
const UNET = /(?:^|\.)(input_blocks|output_blocks)\.(\d+)(?:\.|$)/;
const FIRST = new Set(["time_embed", "label_emb"]);

/** What `IN00-05`, `M00` or `BASE` stands for; null where a pattern is no such name. @returns {SdBlocks | null} */
export function sdBlocks(pattern) {
  const found = ALIAS.exec(pattern);
  if (!found) return null;
  if (found[1]) return { kind: "BASE", low: 0, high: 0 };
  if (found[2]) return { kind: "M", low: 0, high: 0 };
  const low = Number(found[4]);
  return { kind: found[3].toUpperCase(), low, high: found[5] === undefined ? low : Number(found[5]) };
}

/** [kind, number] of a block id; null for blocks that are none of a U-Net's. */
export function blockName(block, last) {
  if (block.startsWith("text_encoder.")) return ["BASE", 0];
  const found = UNET.exec(block);
  if (found) return [found[1] === "input_blocks" ? "IN" : "OUT", Number(found[2])];
  const [part] = block.split(".");
  if (part === "middle_block") return ["M", 0];
  if (part === "out" && last !== null) return ["OUT", last];
  return FIRST.has(part) && last !== null ? ["IN", 0] : null;
}

export function sdHolds({ kind, low, high }, block, last) {
  const name = blockName(block, last);
  return name !== null && name[0] === kind && low <= name[1] && name[1] <= high;
}

/** The number of a U-Net's last output block; null where the model is no such U-Net. */
export function lastOutputBlock(blocks) {
  const numbers = [...blocks].flatMap((block) => {
    const found = UNET.exec(block);
    return found?.[1] === "output_blocks" ? [Number(found[2])] : [];
  });
  return numbers.length ? Math.max(...numbers) : null;
}

const v = (t) => Math.abs(2 * t - 1);

/** Curves of block merges: the weight at place t, 0 at IN00, 0.5 at M00 and 1 at the last OUT. */
export const CURVES = {
  GRAD_V: v,
  GRAD_A: (t) => 1 - v(t),
  FLAT_25: () => 0.25,
  FLAT_50: () => 0.5,
  FLAT_75: () => 0.75,
  SMOOTHSTEP: (t) => t * t * (3 - 2 * t),
  REVERSE_SMOOTHSTEP: (t) => 1 - t * t * (3 - 2 * t),
  COSINE: (t) => (1 + Math.cos(Math.PI * t)) / 2,
  REVERSE_COSINE: (t) => (1 - Math.cos(Math.PI * t)) / 2,
};

/** IN00 … M00 … OUT11 of a U-Net with `size` input blocks. */
export function blockNames(size) {
  const side = (kind) => Array.from({ length: size }, (_, i) => `${kind}${String(i).padStart(2, "0")}`);
  return [...side("IN"), "M00", ...side("OUT")];
}

const SIZES = { 26: 12, 25: 12, 20: 9, 19: 9 };

/**
 * Pasted numbers and the name of a curve as `pattern=weight` pairs; other text as it is.
 * @param {string} text
 * @param {number | null} [last] the number of the model's last output block
 */
export function expanded(text, last = null) {
  if (NUMBERS.test(text)) {
    const values = text
      .trim()
      .split(/[\s,;]+/)
      .filter(Boolean);
    const size = SIZES[values.length];
    if (size === undefined) return text;
    const names = [...(values.length === 26 || values.length === 20 ? ["BASE"] : []), ...blockNames(size)];
    return names.map((name, i) => `${name}=${values[i]}`).join(", ");
  }
  const curve = CURVES[text.trim().toUpperCase().replaceAll("-", "_")];
  if (!curve) return text;
  const names = blockNames(last === null ? 12 : last + 1);
  return names.map((name, i) => `${name}=${round4(curve(i / (names.length - 1)))}`).join(", ");
}

const round4 = (value) => Math.round(value * 1e4) / 1e4;
