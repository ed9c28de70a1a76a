// Cuts a long listing of blocks, whose ids are random, into ranges of about equal length.

const UUID_START = /^[0-9a-f]{8}/;
const PREFIX_DIGITS = 8;
const ALL = 2 ** 32;

/**
 * Where the second and further ranges begin, ascending.
 * @param last the last name that was listed; what is no block id is not cut.
 */
export function uuidBounds(last: string, count: number): string[] {
  if (!UUID_START.test(last)) return [];
  const from = Number.parseInt(last.slice(0, PREFIX_DIGITS), 16) + 1;
  const bounds: string[] = [];
  for (let i = 1; i < count; i++) {
    const at = Math.floor(from + ((ALL - from) * i) / count);
    if (at < ALL) bounds.push(at.toString(16).padStart(PREFIX_DIGITS, '0'));
  }
  return bounds;
}
