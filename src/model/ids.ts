// Trace and span ids: 16 and 8 bytes in memory, hex in text.
export const TRACE_ID_BYTES = 16;
export const SPAN_ID_BYTES = 8;

const HEX_DIGITS = '0123456789abcdef';

/** Value of an ASCII hex digit, -1 for any other character. */
const NIBBLES = new Int8Array(128).fill(-1);
for (let i = 0; i < 16; i++) {
  NIBBLES[HEX_DIGITS.charCodeAt(i)] = i;
  NIBBLES[HEX_DIGITS.toUpperCase().charCodeAt(i)] = i;
}

/** Bytes of a hex text of even length; undefined when it is none. */
export function bytesOfHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0) return undefined;
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) {
    const high = NIBBLES[text.charCodeAt(2 * i)] ?? -1;
    const low = NIBBLES[text.charCodeAt(2 * i + 1)] ?? -1;
    if (high < 0 || low < 0) return undefined;
    bytes[i] = high * 16 + low;
  }
  return bytes;
}

/** Lower-case hex, all digits. */
export function hexOfBytes(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += HEX_DIGITS[byte >> 4] + HEX_DIGITS[byte & 15];
  return text;
}
