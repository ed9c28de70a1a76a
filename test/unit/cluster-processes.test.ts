// The processes of `npm run cluster`: what happens to the others when one ends.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import t from 'tap';
import { freePort } from '../support/free-port.ts';

t.setTimeout(60_000);

const GROUP = new URL('../../cmd/cluster/process-group.ts', import.meta.url).href;
const SERVER = `
const [port] = process.argv.slice(1);
require('node:http').createServer((_, response) => response.end('ok')).listen(port, '127.0.0.1');
console.error('pid ' + process.pid);
`;

/** A process whose group has two servers; it writes what they write. */
async function startGroup(
  failing = false,
): Promise<{ readonly child: ChildProcess; readonly next: (text: RegExp) => Promise<RegExpExecArray> }> {
  const programs = await Promise.all(
    ['one', 'two'].map(async (name) => {
      const port = await freePort();
      const script = failing && name === 'two' ? 'process.exit(3)' : SERVER;
      const args = ['-e', script, String(port)];
      return { name, command: process.execPath, args, readyUrl: `http://127.0.0.1:${port}` };
    }),
  );
  const script = `
    import { ProcessGroup } from '${GROUP}';
    const group = new ProcessGroup();
    process.on('SIGTERM', () => void group.stop());
    await group.start(${JSON.stringify(programs)});
    if (!group.isStopping) group.ready();
    if (!group.isStopping) process.stderr.write('all are ready\\n');
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const seen: string[] = [];
  let wake = (): void => undefined;
  createInterface({ input: child.stderr! }).on('line', (line) => {
    seen.push(line);
    wake();
  });
  const next = async (text: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      const match = seen.map((line) => text.exec(line)).find((found) => found !== null);
      if (match !== undefined) return match;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  return { child, next };
}

const endOf = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => child.once('close', (code) => resolve(code)));

t.test('one that is killed is named, and the others go on', async (t) => {
  const { child, next } = await startGroup();
  const ended = endOf(child);
  await next(/all are ready/);
  const [, pid] = await next(/^one +pid (\d+)/);
  const [, other] = await next(/^two +pid (\d+)/);
  process.kill(Number(pid), 'SIGKILL');
  await next(/^one +was ended by SIGKILL: the others go on$/);
  t.ok(process.kill(Number(other), 0), 'it runs');
  process.kill(Number(other), 'SIGKILL');
  await next(/^two +was ended by SIGKILL: all are stopped$/);
  t.equal(await ended, 1);
});

t.test('one that ends before all are ready ends all', async (t) => {
  const { child, next } = await startGroup(true);
  const ended = endOf(child);
  await next(/^two +has ended with status 3: all are stopped$/);
  t.equal(await ended, 3);
});

t.test('all end in good order', async (t) => {
  const { child, next } = await startGroup();
  const ended = endOf(child);
  await next(/all are ready/);
  const [, pid] = await next(/^one +pid (\d+)/);
  child.kill('SIGTERM');
  t.equal(await ended, 0);
  t.throws(() => process.kill(Number(pid), 0), { code: 'ESRCH' });
});
