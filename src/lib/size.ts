// Byte size text ("64KiB", "10MB", "63KiB1023B") to a number of bytes and back.

const BASE2: readonly (readonly [string, number])[] = [
  ['EiB', 2 ** 60],
  ['PiB', 2 ** 50],
  ['TiB', 2 ** 40],
  ['GiB', 2 ** 30],
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
  ['B', 1],
];

/**
 * Lower case unit -> bytes. `KB` is 1024 bytes, as the Go library that Tempo reads these values with has
 * it.
 */
const UNITS: ReadonlyMap<string, number> = new Map(
  BASE2.flatMap(([unit, bytes]) => [
    [unit.toLowerCase(), bytes] as const,
    [unit.replace('i', '').toLowerCase(), bytes] as const,
  ]),
);

/** @throws Error when the text is no size. */
export function parseSize(text: string): number {
  const trimmed = text.trim();
  if (/^\d+$/.test(trimmed)) return Number(trimmed);
  let bytes = 0;
  let rest = trimmed;
  while (rest !== '') {
    const part = /^(\d+(?:\.\d+)?)\s*([a-z]+)\s*/i.exec(rest);
    const unit = part === null ? undefined : UNITS.get((part[2] as string).toLowerCase());
    if (part === null || unit === undefined) throw sizeError(text);
    bytes += Number(part[1]) * unit;
    rest = rest.slice(part[0].length);
  }
  if (trimmed === '') throw sizeError(text);
  return Math.round(bytes);
}

/** The shortest exact text in powers of 1024: 65535 -> `63KiB1023B`. */
export function formatSize(bytes: number): string {
  if (bytes === 0) return '0B';
  let rest = bytes;
  let out = '';
  for (const [unit, unitBytes] of BASE2) {
    const count = Math.floor(rest / unitBytes);
    if (count === 0) continue;
    out += `${count}${unit}`;
    rest -= count * unitBytes;
  }
  return out;
}

function sizeError(text: string): Error {
  return new Error(
    `"${text}" is no size: write a number of bytes or one with a unit, such as 64KiB or 10MiB`,
  );
}
