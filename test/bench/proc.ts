// CPU and memory of other processes as the Linux kernel counts them: /proc/PID/stat and /proc/PID/status.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const CLOCK_TICKS = 100; // USER_HZ on every Linux this runs on
const SAMPLE_MS = 100;
const IDLE_SAMPLE_MS = 1000;
const IDLE_CORES = 0.05;
const CPU_FIELDS = [11, 12, 13, 14]; // utime stime cutime cstime, counted after the command name

/** User and system seconds of the processes, all threads, children that were reaped included. */
export function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    for (const at of CPU_FIELDS) ticks += Number(fields[at]);
  }
  return ticks / CLOCK_TICKS;
}

/** MiB of one field of /proc/PID/status (VmRSS now, VmHWM since the start), summed. */
export function memoryMib(pids: readonly number[], field: 'VmRSS' | 'VmHWM'): number {
  let kib = 0;
  for (const pid of pids) {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    kib += Number(status.match(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm'))?.[1] ?? 0);
  }
  return kib / 1024;
}

/** Samples VmRSS until the returned function is called, which answers the largest value seen in MiB. */
export function sampleRss(pids: readonly number[]): () => number {
  let peak = memoryMib(pids, 'VmRSS');
  const timer = setInterval(() => {
    peak = Math.max(peak, memoryMib(pids, 'VmRSS'));
  }, SAMPLE_MS);
  return () => {
    clearInterval(timer);
    return Math.max(peak, memoryMib(pids, 'VmRSS'));
  };
}

/**
 * Waits until the processes used under 0.05 cores for `quietMs`, at most `limitMs`. @returns false at the
 * limit.
 */
export async function untilIdle(pids: readonly number[], quietMs: number, limitMs: number): Promise<boolean> {
  const beganMs = performance.now();
  let quietSinceMs = beganMs;
  let lastMs = beganMs;
  let last = cpuSeconds(pids);
  while (performance.now() - quietSinceMs < quietMs) {
    if (performance.now() - beganMs > limitMs) return false;
    await sleep(IDLE_SAMPLE_MS);
    const used = cpuSeconds(pids);
    const nowMs = performance.now();
    if ((used - last) * 1000 > IDLE_CORES * (nowMs - lastMs)) quietSinceMs = nowMs;
    last = used;
    lastMs = nowMs;
  }
  return true;
}
