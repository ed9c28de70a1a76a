// Threads that give way to others of the process. On Linux niceness is that of one thread; elsewhere it would
// be that of the process, and nothing is done.
import os from 'node:os';

const NICENESS_MAX = 19;
/** A sandbox may forbid it: the thread then works as others do. Or it has just ended. */
const PASSED_OVER: ReadonlySet<string> = new Set(['EPERM', 'EACCES', 'ENOSYS', 'ESRCH']);

/**
 * Makes a thread nicer than the process was started.
 * @param id by which the system knows it; 0 = this one.
 */
export function giveWay(niceness: number, id = 0): void {
  if (process.platform !== 'linux') return;
  try {
    os.setPriority(id, Math.min(NICENESS_MAX, os.getPriority() + niceness));
  } catch (err) {
    const { info } = err as { readonly info?: { readonly code?: string } };
    if (!PASSED_OVER.has(info?.code ?? '')) throw err;
  }
}
