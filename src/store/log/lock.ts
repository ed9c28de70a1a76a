// The lock of a data folder: one process at a time. Node has no flock, so the lock is a symbolic link whose
// target names its holder: made at one stroke with its content, and on a full disk too. It is stale when that
// process has ended, be it still listed because its parent has not asked for its status: right after kill -9,
// or below a first process that never asks. A holder in another pid namespace (a container) is known by its
// heartbeat.
import * as fs from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { TempoError } from '../../lib/errors.ts';

export interface Holder {
  readonly pid: number;
  /** Start time of the process in clock ticks, as /proc tells it: a pid is used again. */
  readonly startTicks: string;
  readonly pidNamespace: string;
}

export interface FolderLock {
  release(): void;
}

const HEARTBEAT_MS = 2000;
/** A foreign holder that has not touched its lock for this long is gone. */
const FOREIGN_STALE_MS = 5 * HEARTBEAT_MS;
/** How long the threads of a killed holder are waited for. */
const ENDING_MS = 10_000;

/** Locks held by this process: its own pid in a file says nothing about them. */
const held = new Set<string>();

/** @throws TempoError when another process holds the folder. */
export async function lockFolder(folder: string): Promise<FolderLock> {
  const path = `${fs.realpathSync(folder)}/lock`;
  for (;;) {
    if (held.has(path)) throw taken(path, describe(process.pid));
    if (make(path)) break;
    const holder = await liveHolder(path);
    if (holder !== undefined) throw taken(path, holder);
    removeStale(path);
  }
  held.add(path);
  const heartbeat = setInterval(() => touch(path), HEARTBEAT_MS).unref();
  return {
    release: () => {
      clearInterval(heartbeat);
      if (held.delete(path)) fs.rmSync(path, { force: true });
    },
  };
}

/** Of two that try at once, one has it. */
function make(path: string): boolean {
  try {
    fs.symlinkSync(holderText(describe(process.pid)), path);
    return true;
  } catch (err) {
    if (err instanceof Error && 'code' in err && err.code === 'EEXIST') return false;
    throw err;
  }
}

/** Short enough to lie in the inode itself. */
export function holderText({ pid, startTicks, pidNamespace }: Holder): string {
  return `${pid} ${startTicks} ${pidNamespace}`;
}

function taken(path: string, holder: Holder): TempoError {
  return new TempoError(
    'unavailable',
    `data folder is in use by process ${holder.pid} (lock ${path}): ` +
      'stop it, or use another storage.trace.wal.path',
  );
}

function describe(pid: number): Holder {
  return { pid, startTicks: startTicks(pid), pidNamespace: pidNamespace() };
}

function startTicks(pid: number): string {
  return statFields(pid)[19] ?? '';
}

/**
 * The fields of /proc/<pid>/stat from the third on; the name in the second may hold spaces. None where there
 * is no /proc.
 */
function statFields(pid: number): string[] {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return [];
  }
}

/**
 * A process that was killed is a zombie at once, but its other threads may still end what they write: waits
 * for them.
 */
async function hasEnded(pid: number): Promise<boolean> {
  const waitUntil = Date.now() + ENDING_MS;
  while (statFields(pid)[0] === 'Z') {
    if (threadsOf(pid) <= 1) return true;
    if (Date.now() > waitUntil) return false;
    await delay(20);
  }
  return startTicks(pid) === '';
}

function threadsOf(pid: number): number {
  try {
    return fs.readdirSync(`/proc/${pid}/task`).length;
  } catch {
    return 0;
  }
}

function pidNamespace(): string {
  try {
    return fs.readlinkSync('/proc/self/ns/pid');
  } catch {
    return '';
  }
}

/** Who holds the lock, or undefined when nobody does any more. */
async function liveHolder(path: string): Promise<Holder | undefined> {
  const holder = readHolder(path);
  if (holder === undefined) return undefined;
  if (holder.pidNamespace !== pidNamespace()) return foreignAlive(path, holder);
  if (holder.pid === process.pid) return undefined;
  try {
    process.kill(holder.pid, 0);
  } catch (err) {
    if (err instanceof Error && 'code' in err && err.code === 'ESRCH') return undefined;
  }
  if (startTicks(holder.pid) !== holder.startTicks) return undefined;
  return holder.startTicks !== '' && (await hasEnded(holder.pid)) ? undefined : holder;
}

function readHolder(path: string): Holder | undefined {
  try {
    const [pid, startTicks = '', pidNamespace = ''] = fs.readlinkSync(path).split(' ');
    return { pid: Number(pid), startTicks, pidNamespace };
  } catch {
    // Gone meanwhile, or no lock of ours.
    return undefined;
  }
}

/** Waits until the heartbeat moved or has been missing for long enough. */
async function foreignAlive(path: string, holder: Holder): Promise<Holder | undefined> {
  const first = mtimeMs(path);
  while (mtimeMs(path) === first) {
    if (first === undefined || Date.now() - first > FOREIGN_STALE_MS) return undefined;
    await delay(200);
  }
  return holder;
}

function mtimeMs(path: string): number | undefined {
  return fs.lstatSync(path, { throwIfNoEntry: false })?.mtimeMs;
}

function touch(path: string): void {
  const now = new Date();
  fs.lutimes(path, now, now, () => {});
}

/** Moves the lock away first: what is deleted is surely what was judged. */
function removeStale(path: string): void {
  const aside = `${path}.stale.${process.pid}`;
  try {
    fs.renameSync(path, aside);
  } catch (err) {
    if (err instanceof Error && 'code' in err && err.code === 'ENOENT') return;
    throw err;
  }
  fs.rmSync(aside, { force: true });
}
