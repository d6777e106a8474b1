/** The texts in a PNG's header: tEXt chunks, and iTXt chunks that are not compressed. Pure. */

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

/**
 * @param {Uint8Array} bytes
 * @returns {Record<string, string>} empty for what is no PNG, and up to where one is cut off
 */
export function pngTexts(bytes) {
  /** @type {Record<string, string>} */
  const found = {};
  if (!SIGNATURE.every((value, i) => bytes[i] === value)) return found;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = SIGNATURE.length; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = latin1(bytes.subarray(at + 4, at + 8));
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (data.length < length || kind === "IEND") break;
    const zero = data.indexOf(0);
    if (zero > 0 && kind === "tEXt") found[latin1(data.subarray(0, zero))] = latin1(data.subarray(zero + 1));
    if (zero > 0 && kind === "iTXt" && data[zero + 1] === 0) {
      const language = data.indexOf(0, zero + 3);
      const translated = data.indexOf(0, language + 1);
      if (language > 0 && translated > 0) {
        found[latin1(data.subarray(0, zero))] = new TextDecoder().decode(data.subarray(translated + 1));
      }
    }
    at += length + 12;
  }
  return found;
}

/** Each byte as the character of its number. */
function latin1(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return text;
}
