// A foreign gRPC client, Python's grpcio (the C core that most languages use), on every port with gRPC.
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { certFile } from '../support/certs.ts';
import { aTrace, encodeTraces } from '../support/otlp.ts';
import { startTempo } from '../support/server.ts';
import { runComponent } from './component.ts';
import { testFolder } from '../support/test-folder.ts';

type Answer = {
  readonly name: string;
  readonly code: string;
  readonly answer: string;
  readonly details: string;
};

const PYTHON_CLIENT = new URL('grpcio_client.py', import.meta.url).pathname;

t.test('grpcio', async (t) => {
  const folder = testFolder(t);
  const body = join(folder, 'request.pb');
  writeFileSync(body, encodeTraces(aTrace(1, 200)));
  const yaml = `
stream_over_http_enabled: true
`;
  const tls = `{cert_file: ${certFile('server')}, key_file: ${certFile('server', 'key')},
    client_ca_file: ${certFile('authority')}, client_auth_type: RequireAndVerifyClientCert}`;
  const tempo = await startTempo(join(folder, 'data'), { yaml, server: `  grpc_tls_config: ${tls}\n` });
  t.teardown(() => tempo.kill());
  const { otlpGrpc, http, grpc } = tempo.ports;
  const targets = [`127.0.0.1:${otlpGrpc}`, `127.0.0.1:${http}`, `localhost:${grpc}`];
  const args = [PYTHON_CLIENT, ...targets, dirname(certFile('authority')), body];
  const lines = (await runComponent('GRPCIO_PYTHON', args)).trim().split('\n');
  const got = new Map(lines.map((line) => JSON.parse(line) as Answer).map((each) => [each.name, each]));

  const want: Record<string, Partial<Answer>> = {
    export: { code: 'OK', answer: '' },
    'export with gzip': { code: 'OK', answer: '' },
    'export with deflate': { code: 'OK', answer: '' },
    'no protobuf': { code: 'INVALID_ARGUMENT' },
    'too large': { code: 'RESOURCE_EXHAUSTED' },
    deadline: { code: 'DEADLINE_EXCEEDED' },
    'unknown method': { code: 'UNIMPLEMENTED' },
    'a thousand at once': { code: 'OK', details: '1000' },
    health: { code: 'OK', answer: '0801' },
    watch: { code: 'OK', answer: '0801' },
    'watch until its deadline': { code: 'DEADLINE_EXCEEDED' },
    search: { code: 'OK' },
    'with a certificate': { code: 'OK', answer: '0801' },
    'without one': { code: 'UNAVAILABLE' },
  };
  t.same([...got.keys()], Object.keys(want));
  for (const [name, answer] of Object.entries(want)) t.match(got.get(name), answer, name);
  t.match(got.get('too large')?.details, /larger than max \(5242880 vs\. 4194304\)/);
  t.ok(Number(got.get('search')?.details) > 0, 'search answers messages');
  t.equal(await tempo.stop(), 0);
});
