// A port of loopback that nobody has right now, and that no other test will be given while this one runs.
import { randomInt } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// below those that the kernel gives to connections, which could take one before its server listens
const PORT_MIN = 15_000;
const PORT_MAX = 32_000;

/** A file for each port that is given away, with the process that has it. */
const CLAIMS = join(tmpdir(), `tempo-test-ports-${process.getuid?.() ?? 0}`);

const given = new Set<number>();

export async function freePort(): Promise<number> {
  if (given.size === 0) {
    mkdirSync(CLAIMS, { recursive: true });
    process.on('exit', giveBack);
  }
  for (;;) {
    const port = randomInt(PORT_MIN, PORT_MAX);
    if (!isClaimed(port)) continue;
    if (await isFree(port)) return port;
  }
}

/** Whether this process has got it now. */
function isClaimed(port: number): boolean {
  if (given.has(port)) return false;
  const path = join(CLAIMS, String(port));
  try {
    writeFileSync(path, String(process.pid), { flag: 'wx' });
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'EEXIST') throw err;
    // of a test that was killed: free for whoever comes next
    if (!isRunning(path)) rmSync(path, { force: true });
    return false;
  }
  given.add(port);
  return true;
}

function isRunning(path: string): boolean {
  try {
    const pid = Number(readFileSync(path, 'utf8'));
    return pid === 0 || process.kill(pid, 0);
  } catch (err) {
    return (err as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function giveBack(): void {
  for (const port of given) rmSync(join(CLAIMS, String(port)), { force: true });
}

/** Whether loopback has more than one address, as Linux has it without further ado. */
export const hasSecondLoopback = (): Promise<boolean> => isFree(0, '127.0.0.2');

async function isFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  const server = createServer();
  const listens = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, host, () => resolve(true));
  });
  if (listens) await new Promise((resolve) => server.close(resolve));
  return listens;
}
