// Threads that give way to others of the process.
import os from 'node:os';

const NICENESS_MAX = 19;

/**
 * Makes this thread nicer than the process was started. On Linux niceness is that of the thread alone;
 * elsewhere it would be that of the process, and nothing is done.
 */
export function giveWay(niceness: number): void {
  if (process.platform !== 'linux') return;
  try {
    os.setPriority(Math.min(NICENESS_MAX, os.getPriority() + niceness));
  } catch (err) {
    // a sandbox may forbid it; the thread then works as others do
    if (!['EPERM', 'EACCES', 'ENOSYS'].includes((err as NodeJS.ErrnoException).code ?? '')) throw err;
  }
}
