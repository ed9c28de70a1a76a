// tempo-cli of Grafana Tempo 2.10 asks both programs about the same spans: over HTTP, and over gRPC on both
// ports. What it prints is the same. TEMPO_CLI names the program.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { flush } from '../support/read-api.ts';
import type { RunningTempo } from '../support/server.ts';
import { loadCorpus } from './corpus.ts';
import { copyBlocks, push, startOurs, startReal, untilBlocksHold, untilPolled } from './programs.ts';
import { testFolder } from '../support/test-folder.ts';

const TIMEOUT_MS = 300_000;
const OUTPUT_BYTES_MAX = 64 << 20;
const run = promisify(execFile);

/** Of all messages of an answer what they say, whatever its order; what was read is not compared. */
function said(text: string): unknown {
  const messages = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const all: Record<string, unknown[]> = {};
  for (const [key, value] of messages.flatMap((message) => Object.entries(message))) {
    if (key !== 'metrics') (all[key] ??= []).push(...(Array.isArray(value) ? (value as unknown[]) : [value]));
  }
  return sorted(all);
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((one) => JSON.stringify(sorted(one))).toSorted();
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, one]) => [key, sorted(one)] as const)
      .toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
}

t.setTimeout(TIMEOUT_MS);
await t.test('tempo-cli', { timeout: TIMEOUT_MS }, async (t) => {
  const program = process.env['TEMPO_CLI'];
  if (program === undefined) throw new Error('TEMPO_CLI must name tempo-cli of Grafana Tempo 2.10');
  const how = { maxBuffer: OUTPUT_BYTES_MAX };
  const ask = async (...args: string[]): Promise<unknown> =>
    said((await run(program, ['query', 'api', ...args], how)).stdout);
  const data = testFolder(t, { ours: {}, real: {} });
  const corpus = loadCorpus();
  const ours = await startOurs(join(data, 'ours'));
  t.teardown(() => ours.kill());
  await push(ours, corpus);
  await flush(ours);
  await untilBlocksHold(ours.data, corpus.traceIds.length);
  await untilPolled(ours);
  copyBlocks(ours.data, join(data, 'real'));
  const real = await startReal(join(data, 'real'));
  t.teardown(() => real.kill());
  await untilPolled(real);
  const [start, end] = [corpus.startSec - 1, corpus.endSec + 1].map((sec) =>
    new Date(sec * 1000).toISOString().replace('.000', ''),
  ) as [string, string];
  const hosts = ({ ports }: RunningTempo) => ({
    http: `127.0.0.1:${ports.http}`,
    grpc: `127.0.0.1:${ports.grpc}`,
  });
  const [own, theirs] = [hosts(ours), hosts(real)];
  const query = '{ status = error } | select(resource.service.name)';
  for (const [host, other, ...flags] of [
    [own.http, theirs.http],
    [own.grpc, theirs.grpc, '--use-grpc'],
    [own.http, theirs.grpc, '--use-grpc'],
  ] as [string, string, ...string[]][]) {
    for (const [command, ...args] of [
      ['search', query, start, end, '--limit', '5000', '--spss', '100'],
      ['search-tag-values', 'resource.service.name', start, end],
    ] as [string, ...string[]][]) {
      const want = await ask(command, other, ...args, ...flags);
      t.ok(JSON.stringify(want).length > 100, `${command} ${flags.join(' ')} finds something`);
      t.same(await ask(command, host, ...args, ...flags), want, `${command} ${flags.join(' ')}`);
    }
    t.match(await ask('search-tags', host, start, end, ...flags), { scopes: Array });
  }
  for (const id of corpus.traceIds.slice(0, 10)) {
    for (const flags of [[], ['--v1']]) {
      const want = await ask('trace-id', `http://${theirs.http}`, id, ...flags);
      t.same(await ask('trace-id', `http://${own.http}`, id, ...flags), want, `${id} ${flags.join('')}`);
    }
  }
  const rate = ['{ } | rate() by (kind)', start, end];
  for (const flags of [[], ['--instant']]) {
    const [first, ...others] = [
      await ask('metrics', own.http, ...rate, ...flags),
      await ask('metrics', own.http, ...rate, '--use-grpc', ...flags),
      await ask('metrics', own.grpc, ...rate, '--use-grpc', ...flags),
    ];
    for (const other of others) t.same(other, first, `metrics ${flags.join('')}`);
  }
});
