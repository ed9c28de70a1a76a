// What the README promises of programs beside the server: tracegen sends traces and reads one back,
// tempo-vulture checks what it wrote for as long as it runs.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { searchIds, spansOfTrace } from '../support/read-api.ts';
import { startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

type Ended = { readonly code: number; readonly stdout: string; readonly stderr: string };

function run(program: string, args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [`cmd/${program}/main.ts`, ...args], (err, stdout, stderr) => {
      resolve({ code: Number(err?.code ?? 0), stdout, stderr });
    });
  });
}

t.test('tracegen against a running server', async (t) => {
  const tempo = await startTempo(testFolder(t));
  t.teardown(() => tempo.kill());
  const endpoint = `127.0.0.1:${tempo.ports.otlpGrpc}`;
  const to = `-otlp-endpoint ${endpoint} -otlp-insecure -query-url ${tempo.url}`;
  const { code, stdout, stderr } = await run('tracegen', `${to} -traces 5 -workers 2 -rate 0`.split(' '));
  t.equal(stderr, '');
  t.equal(code, 0);
  const address = stdout.match(/read back a trace of (\d+) spans: (\S+)/);
  t.match(stdout, /^sent \d+ spans in 10 traces to http:/);
  const traceId = address?.[2]?.split('/').at(-1) ?? '';
  t.equal(await spansOfTrace(tempo, traceId), Number(address?.[1]));
  const found = await searchIds(tempo, '{ resource.deployment.environment = "tracegen" }');
  t.equal(found.length, 10);
  t.ok(found.includes(traceId));
  t.equal(await tempo.stop(), 0, 'SIGTERM ends it cleanly');
});

t.test('tempo-vulture against a running server', async (t) => {
  const tempo = await startTempo(testFolder(t));
  t.teardown(() => tempo.kill());
  const to = [`-tempo-query-url=${tempo.url}`, `-tempo-push-url=http://127.0.0.1:${tempo.ports.otlpGrpc}`];
  const validated = await run('tempo-vulture', [...to, '-validation-mode']);
  t.equal(validated.code, 0, validated.stdout);
  t.match(validated.stdout, 'msg="validation completed" traces=3 passed=3 failed=0');
  const nowhere = await run('tempo-vulture', [
    '-tempo-push-url=127.0.0.1:1',
    to[0] ?? '',
    '-validation-mode',
  ]);
  t.equal(nowhere.code, 1);
  t.match(nowhere.stdout, /msg="write failed".*ECONNREFUSED/);
  t.equal((await run('tempo-vulture', [])).code, 2);

  const quick = 'write read search long-write'
    .split(' ')
    .map((name) => `-tempo-${name}-backoff-duration=5ms`);
  const listen = '-prometheus-listen-address=127.0.0.1:0';
  const vulture = spawn(process.execPath, ['cmd/tempo-vulture/main.ts', ...to, ...quick, listen]);
  t.teardown(() => vulture.kill('SIGKILL'));
  let output = '';
  vulture.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  while (!/metrics are served.*port=\d+/.test(output)) await once(vulture.stdout, 'data');
  const url = `http://127.0.0.1:${/port=(\d+)/.exec(output)?.[1] ?? ''}/metrics`;
  let metrics = '';
  const checks = (): number => Number(/^tempo_vulture_trace_total (\d+)$/m.exec(metrics)?.[1] ?? 0);
  while (checks() < 100) metrics = await (await fetch(url)).text();
  const errors = [...metrics.matchAll(/^tempo_vulture_(?:trace_error|error)_total(?:\{.*\})? (\d+)$/gm)];
  t.same(
    errors.map(([, count]) => count),
    Array.from({ length: 11 }, () => '0'),
    metrics,
  );
  t.equal((await fetch(`${url}/x`)).status, 404);
  vulture.kill('SIGTERM');
  t.same(await once(vulture, 'exit'), [0, null], 'SIGTERM ends it cleanly');
});
