// `tempo-cli compare` with two servers: equal ones, in whatever order and whether in blocks or not, and ones
// of which one lacks something.
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { join } from 'node:path';
import t from 'tap';
import { freePort } from '../support/free-port.ts';
import { httpExport } from '../support/hostile.ts';
import { aResource, aTrace, encodeTraces, type TestSpan } from '../support/otlp.ts';
import { flush } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(120_000);

const TRACES = 12;
const startUnixNano = BigInt(Date.now()) * 1_000_000n - 60_000_000_000n;

const spans = Array.from({ length: TRACES }, (_, i) =>
  aTrace(i + 1, 5, (n) => ({
    startUnixNano: startUnixNano + BigInt(i * 1_000_000 + n),
    endUnixNano: startUnixNano + BigInt(i * 1_000_000 + n + 1000),
    resource: aResource(['shop', 'cart'][i % 2]!),
    attributes: [
      ['user.id', `user "${i}"`],
      ['odd key', BigInt(n)],
      ['ok', n % 2 === 0],
    ],
  })),
);

async function push(tempo: RunningTempo, some: readonly TestSpan[]): Promise<void> {
  const { status } = await httpExport(tempo, encodeTraces(some));
  if (status !== 200) throw new Error(`status ${status}`);
}

async function compare(
  ...args: string[]
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const child = spawn(process.execPath, ['cmd/tempo-cli/main.ts', 'compare', ...args]);
  const ended = new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? -1)));
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { code, out, err };
}

const folder = testFolder(t, { a: {}, b: {} });
const [a, b] = await Promise.all([startTempo(join(folder, 'a')), startTempo(join(folder, 'b'))]);
t.teardown(() => Promise.all([a.kill(), b.kill()]));
const both = ['--a', a.url, '--b', `${b.url}/`];
for (const some of spans) await push(a, some);
for (const some of spans.toReversed()) await push(b, some.toReversed());
await flush(b);

await t.test('servers with the same spans, one of them in blocks', async (t) => {
  const { code, out, err } = await compare(...both, '--end', String(Math.floor(Date.now() / 1000) + 1));
  t.strictSame({ code, err }, { code: 0, err: '' }, out);
  const queries = /^(\d+) queries, 0 answered differently\n$/.exec(out);
  t.ok(Number(queries?.[1]) > 40, out);
});

await t.test('more traces than the limit: which ones is not compared', async (t) => {
  const { code, out } = await compare(...both, '--limit', '3', '--tags', '0');
  t.equal(code, 0);
  t.match(out, /^\d+ queries, 0 answered differently, 1 with more than --limit traces are not compared\n$/);
});

await t.test('one has a span more', async (t) => {
  const extra = aTrace(99, 1, () => ({
    startUnixNano,
    endUnixNano: startUnixNano + 1000n,
    name: 'only there',
    attributes: [['user.id', 'user 99']],
  }));
  await push(b, extra);
  const { code, out } = await compare(...both);
  t.equal(code, 1);
  t.match(out, /^\/api\/search\?q=%7B\+%7D&.*\n {2}a: .*\n {2}b: .*only there/m);
  t.match(out, /\d+ queries, [1-9]\d* answered differently\n$/);

  const file = join(folder, 'queries.txt');
  const lines = [
    '# comment',
    '',
    '{ name = "only there" }',
    '{ name = "op-1" }',
    '/api/nothing',
    '{ name = ',
  ];
  writeFileSync(file, lines.join('\n'));
  const told = await compare(...both, '--queries', file);
  t.equal(told.code, 1);
  t.match(told.out, /"only there"|only\+there/);
  t.match(told.out, /\n4 queries, 1 answered differently\n$/, 'errors that are alike are no difference');
  writeFileSync(file, '{ name = "op-1" }\n');
  t.equal((await compare(...both, '--queries', file)).code, 0);
});

await t.test('what cannot be done is status 2', async (t) => {
  const nobody = `http://127.0.0.1:${await freePort()}`;
  const gone = await compare('--a', a.url, '--b', nobody);
  t.equal(gone.code, 2);
  t.match(gone.err, new RegExp(`^tempo-cli: ${nobody} cannot be asked for /api/search.*ECONNREFUSED`));
  for (const args of [
    ['--a', a.url],
    [...both, '--limit', 'x'],
    ['--a', 'x', '--b', b.url],
    [...both, '--start', 'soon'],
  ]) {
    t.equal((await compare(...args)).code, 2, args.join(' '));
  }
  t.match((await compare(...both, '--start', 'soon')).err, /Write RFC 3339, unix seconds, now or now-1h/);
  const missing = await compare(...both, '--queries', join(folder, 'nowhere.txt'));
  t.strictSame([missing.code, /ENOENT/.test(missing.err)], [2, true]);
});

await t.test('a tenant and other headers', async (t) => {
  const seen = new Set<string>();
  const servers = await Promise.all(
    [0, 1].map(async () => {
      const server = createServer(({ headers }, response) => {
        seen.add(['x-scope-orgid', 'x-a', 'x-b'].map((name) => String(headers[name])).join(' '));
        response.end('{}');
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      t.teardown(() => server.close());
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    }),
  );
  const [one, other] = servers as [string, string];
  const headers = ['--org-id', 'team', '--header', 'x-a=b=c', '--header', 'x-b=d'];
  t.equal((await compare('--a', one, '--b', other, ...headers)).code, 0);
  t.strictSame([...seen], ['team b=c d']);
  t.equal((await compare(...both, '--header', 'nothing')).code, 2);
});
