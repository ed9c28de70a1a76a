// What processes take while nobody asks for anything: CPU, and how often their threads wake, which a busy
// machine does not change. Linux only.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { cpuSeconds } from '../bench/proc.ts';

export interface Idle {
  /** Per cent of a core. */
  readonly cpuPercent: number;
  /** A second, of all threads. */
  readonly wakes: number;
}

/** Times that threads had nothing to do and waited. */
function wakesOf(pid: number): number {
  const tasks = `/proc/${pid}/task`;
  let sum = 0;
  for (const task of readdirSync(tasks)) {
    const status = readFileSync(`${tasks}/${task}/status`, 'utf8');
    sum += Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(status)?.[1] ?? 0);
  }
  return sum;
}

export async function idleFor(ms: number, pids: readonly number[]): Promise<readonly Idle[]> {
  const now = () => pids.map((pid) => ({ cpu: cpuSeconds([pid]), wakes: wakesOf(pid) }));
  const before = now();
  const beganMs = performance.now();
  await pause(ms);
  const seconds = (performance.now() - beganMs) / 1000;
  return now().map(({ cpu, wakes }, i) => ({
    cpuPercent: ((cpu - before[i]!.cpu) / seconds) * 100,
    wakes: Math.max(0, wakes - before[i]!.wakes) / seconds,
  }));
}
