// The threads on which V8 compiles and marks for all threads of the process, mostly for scan threads: they
// would keep those from a core that have a push to acknowledge.
import { readdirSync, readFileSync } from 'node:fs';
import { giveWay } from '../lib/thread-priority.ts';

const TASKS = '/proc/self/task';
/** What Node calls them. */
const HELPER = /V8Worker/;
/** That of scan threads. */
const NICENESS = 5;

/** Makes them nicer than the process was started, on Linux and where Node names its threads. */
export function helpersGiveWay(): void {
  if (process.platform !== 'linux') return;
  for (const id of threads()) if (isHelper(id)) giveWay(NICENESS, Number(id));
}

function threads(): readonly string[] {
  try {
    return readdirSync(TASKS);
  } catch {
    return []; // a sandbox without /proc
  }
}

function isHelper(id: string): boolean {
  try {
    return HELPER.test(readFileSync(`${TASKS}/${id}/comm`, 'utf8'));
  } catch {
    return false; // it has ended
  }
}
