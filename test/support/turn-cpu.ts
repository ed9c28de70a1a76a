// Loaded before a program (`node --import`): how much CPU its main thread takes in one turn of the event
// loop. Who connects to the socket TURN_CPU_SOCKET is told the most, in microseconds, since the last one.
import { rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { isMainThread } from 'node:worker_threads';

/**
 * A timer that is due fires once a turn, before what came in is looked at, so between two of its calls lie at
 * most one turn that is longer and short ones of this much together. The CPU is that of the thread: what
 * others on the machine take meanwhile is not in it.
 */
const INTERVAL_MS = 1;

function watch(socket: string): void {
  let mostUs = 0;
  let before = process.threadCpuUsage();
  const timer = setInterval(() => {
    const now = process.threadCpuUsage();
    mostUs = Math.max(mostUs, now.user - before.user + now.system - before.system);
    before = now;
  }, INTERVAL_MS);
  timer.unref();
  const server = createServer((connection) => {
    connection.on('error', () => {});
    connection.end(String(mostUs));
    mostUs = 0;
  });
  // The program may begin again as another under the same id, which leaves the file of the socket behind.
  rmSync(socket, { force: true });
  server.listen(socket).unref();
}

const path = process.env['TURN_CPU_SOCKET'];
if (isMainThread && path !== undefined) watch(path);
