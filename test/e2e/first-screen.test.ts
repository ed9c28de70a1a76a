// What the README's first screen promises: the server starts, tracegen sends traces and reads one back.
import { execFile } from 'node:child_process';
import t from 'tap';
import { searchIds, spansOfTrace } from '../support/read-api.ts';
import { startTempo } from '../support/server.ts';

function tracegen(args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['cmd/tracegen/main.ts', ...args], (err, stdout, stderr) => {
      resolve({ code: Number(err?.code ?? 0), stdout, stderr });
    });
  });
}

t.test('tracegen against a running server', async (t) => {
  const tempo = await startTempo(t.testdir());
  t.teardown(() => tempo.kill());
  const endpoint = `127.0.0.1:${tempo.ports.otlpGrpc}`;
  const to = `-otlp-endpoint ${endpoint} -otlp-insecure -query-url ${tempo.url}`;
  const { code, stdout, stderr } = await tracegen(`${to} -traces 5 -workers 2 -rate 0`.split(' '));
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
