// How many connections a listener takes when configuration sets no limit: each is an open file, of which the
// system grants a number, and the log and the blocks need some too.
import { readFileSync } from 'node:fs';

/** For the log, blocks, threads and libraries. */
const OTHER_FILES = 128;
/** Listeners that share the rest. */
const LISTENERS = 4;
const CONNECTIONS_MIN = 16;

/** @param limits what Linux tells in /proc/self/limits; without it there is no limit. */
export function connectionsMax(limits: string | undefined = ownLimits()): number {
  const files = Number(/^Max open files\s+(\d+)/m.exec(limits ?? '')?.[1] ?? Infinity);
  return Math.max(Math.floor((files - OTHER_FILES) / LISTENERS), CONNECTIONS_MIN);
}

function ownLimits(): string | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    return readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return undefined;
  }
}
