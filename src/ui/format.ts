// Times, ages and colours as people read them.

const UNITS: readonly (readonly [ms: number, unit: string])[] = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1000, 's'],
  [1, 'ms'],
  [0.001, 'µs'],
];

/** Three digits and a unit: 1.23 ms, 45.6 s, 3 h. */
export function durationText(ms: number): string {
  const [size, unit] = UNITS.find(([least]) => ms >= least) ?? [0.001, 'µs'];
  const value = ms / size;
  const digits = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : 2;
  return `${Number(value.toFixed(digits))} ${unit}`;
}

export function agoText(ms: number): string {
  if (ms < 1000) return 'just now';
  const [size, unit] = UNITS.find(([least]) => ms >= least) ?? [1000, 's'];
  return `${Math.floor(ms / size)} ${unit} ago`;
}

export function timeText(unixMs: number): string {
  return new Date(unixMs).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
}

export function countText(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}

const HUES = 13;
const HUE_FIRST = 45;
const HUE_STEP = 23;
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** Which of the hues each name has; a name keeps its hue as long as the page is open. */
const taken = new Map<string, number>();

/** A hue for a name, never the red of errors; the first names get different ones. */
export function hueOf(name: string): number {
  let slot = taken.get(name);
  if (slot === undefined) {
    slot = hashOf(name) % HUES;
    const used = new Set(taken.values());
    // Five steps on is a colour that looks different.
    for (let tries = 0; tries < HUES && used.has(slot); tries++) slot = (slot + 5) % HUES;
    if (taken.size < 1000) taken.set(name, slot);
  }
  return HUE_FIRST + slot * HUE_STEP;
}

function hashOf(text: string): number {
  let hash = FNV_OFFSET;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), FNV_PRIME);
  return (hash ^ (hash >>> 15)) >>> 0;
}

/** Cut for a line; layout of very long text is slow. */
export function lineText(text: string, charsMax = 200): string {
  return text.length > charsMax ? `${text.slice(0, charsMax)}…` : text;
}
