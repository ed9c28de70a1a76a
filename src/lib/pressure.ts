// How short of memory the process is, told from what it uses and what it may use.

/** `tight`: give back what can be given back; `full`: take in nothing more. */
export type Pressure = 'calm' | 'tight' | 'full';

const TIGHT_FROM = 0.75;
const FULL_FROM = 0.92;
/** A level is left this far below where it begins, so that it does not flicker. */
const SLACK = 0.05;

export function nextPressure(now: Pressure, share: number): Pressure {
  const isAbove = (level: number, isIn: boolean): boolean => share >= (isIn ? level - SLACK : level);
  if (isAbove(FULL_FROM, now === 'full')) return 'full';
  return isAbove(TIGHT_FROM, now !== 'calm') ? 'tight' : 'calm';
}
