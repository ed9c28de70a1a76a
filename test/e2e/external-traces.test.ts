// A second server that is asked for traces by id: what it has and what is here are one trace; when it fails
// what is here is shown, and the answer says so.
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { writeFileSync } from 'node:fs';
import t from 'tap';
import { httpExport } from '../support/hostile.ts';
import { aSpan, encodeTraces, hexId } from '../support/otlp.ts';
import { configText, freePorts, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

const START = BigInt(Date.now()) * 1_000_000n;
const span = (trace: number, id: number) =>
  aSpan({ traceId: hexId(trace, 16), spanId: hexId(id, 8), startUnixNano: START, endUnixNano: START + 5n });

t.setTimeout(60_000);

t.test('traces of another server', async (t) => {
  const asked: { url: string; headers: IncomingHttpHeaders }[] = [];
  let answer: { status: number; body: Uint8Array | string } = { status: 404, body: '' };
  const other = createServer((request, response) => {
    asked.push({ url: request.url ?? '', headers: request.headers });
    response.writeHead(answer.status, { 'content-type': 'application/protobuf' }).end(answer.body);
  });
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  t.teardown(() => other.close());
  const { port } = other.address() as AddressInfo;
  const folder = testFolder(t);
  const ports = await freePorts();
  const configFile = `${folder}/tempo.yaml`;
  writeFileSync(
    configFile,
    `${configText(folder, ports)}querier:
  trace_by_id: { external: { endpoint: 'http://me:secret@127.0.0.1:${port}/other/', timeout: 2s } }
query_frontend: { trace_by_id: { external_enabled: true } }
`,
  );
  const tempo = await startTempo(folder, { ports, configFile });
  t.teardown(() => tempo.kill());
  t.equal((await httpExport(tempo, encodeTraces([span(1, 1)]))).status, 200);
  const ids = async (path: string): Promise<string> => {
    const response = await tempo.get(path);
    const text = await response.text();
    const found = [...text.matchAll(/"spanId":"([^"]+)"/g)].map(([, id]) => id).sort();
    return `${response.status} ${found.length > 0 ? found.join() : text.trim()}`;
  };
  const id = (n: number): string => Buffer.from(hexId(n, 8), 'hex').toString('base64');

  t.equal(await ids(`/api/traces/${hexId(1, 16)}?start=1&end=4000000000`), `200 ${id(1)}`);
  t.equal(asked[0]?.url, `/other/api/v2/traces/${hexId(1, 16)}?start=1&end=4000000000`);
  t.match(asked[0]?.headers, {
    accept: 'application/protobuf',
    authorization: `Basic ${Buffer.from('me:secret').toString('base64')}`,
    'x-scope-orgid': 'single-tenant',
  });
  answer = { status: 200, body: encodeTraces([span(1, 1), span(1, 2)]) };
  t.equal(await ids(`/api/traces/${hexId(1, 16)}`), `200 ${id(1)},${id(2)}`, 'each span once');
  t.equal(await ids(`/api/v2/traces/${hexId(1, 16)}`), `200 ${id(1)},${id(2)}`);
  t.equal(await ids(`/api/traces/${hexId(1, 16)}?mode=external`), `200 ${id(1)},${id(2)}`);
  answer = { status: 200, body: encodeTraces([span(2, 3)]) };
  t.equal(await ids(`/api/traces/${hexId(2, 16)}`), `200 ${id(3)}`, 'it alone has the trace');
  const before = asked.length;
  t.match(await ids(`/api/traces/${hexId(2, 16)}?mode=blocks`), /^404/);
  t.match(await ids(`/api/traces/${hexId(2, 16)}?mode=ingesters`), /^404/);
  t.equal(asked.length, before, 'and is not asked for what is here');
  for (const [status, body, why] of [
    [500, 'no "luck"', 'answered with status 500: no'],
    [200, 'not protobuf', 'malformed protobuf'],
  ] as const) {
    answer = { status, body };
    const partial = await (await tempo.get(`/api/v2/traces/${hexId(1, 16)}`)).text();
    t.match(partial, `the external endpoint`);
    t.match(partial, why);
    t.equal(await ids(`/api/traces/${hexId(1, 16)}`), `200 ${id(1)}`, 'what is here is shown');
    t.match(await ids(`/api/traces/${hexId(1, 16)}?mode=external`), new RegExp(`^5.*${why}`));
  }
  other.close();
  other.closeAllConnections();
  t.match(await ids(`/api/v2/traces/${hexId(1, 16)}`), `200 ${id(1)}`);
  t.match(await ids(`/api/traces/${hexId(1, 16)}?mode=external`), /^503 .*ECONNREFUSED/);
  t.notMatch(tempo.output(), 'secret');
  const metrics = await (await tempo.get('/metrics')).text();
  const name = 'tempo_querier_external_endpoint_request_duration_seconds_count';
  t.match(metrics, new RegExp(`^${name}\\{status_code="200"\\} [4-9]`, 'm'));
  t.match(metrics, new RegExp(`^${name}\\{status_code="error"\\} 2`, 'm'));
});
