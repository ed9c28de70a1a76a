// Messages in Snappy and gzip, as `grpc_client_config.grpc_compression` names them, between our roles and
// Tempo's: our distributor to Tempo's ingester, Tempo's to ours, OTLP in Snappy to Tempo's receiver, and our
// querier with Tempo's query-frontend. Pushes are of several chunks. Needs TEMPO_BIN.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { TENANT_HEADER } from '../../src/model/tenant.ts';
import type { GrpcChannel } from '../../src/rpc/grpc-channel.ts';
import { messageCompression } from '../../src/rpc/message-compression.ts';
import { channelTo } from '../support/channel.ts';
import { freePort } from '../support/free-port.ts';
import { httpExport, metric, until } from '../support/hostile.ts';
import { aTrace, decodeTraces, encodeTraces, field, hexId, readFields } from '../support/otlp.ts';
import { freePorts, type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(240_000);

const THEIRS = process.env['TEMPO_BIN'];
const EXPORT = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';
const TRACES = 60;
const SPANS = 20;
/** In both programs. */
const TENANT = 'single-tenant';
const LIMIT_MS = 60_000;
const SEARCH = '/api/search?q=%7B%7D&limit=200&start=1795212987&end=1795213468';
const PUSHED_BYTES = 'tempo_request_message_bytes_sum{method="gRPC",route="/tempopb.Pusher/PushBytesV2"}';

if (THEIRS === undefined) throw new Error('TEMPO_BIN must name the program of Grafana Tempo 2.10');

function openChannel(t: Test, port: number): GrpcChannel {
  const channel = channelTo(port);
  t.teardown(() => channel.close());
  return channel;
}

/** A request of more than one chunk, of which half repeats itself and half does not. */
function requestOf(firstTrace: number): Uint8Array {
  const startUnixNano = BigInt(Date.now() - 1000) * 1_000_000n;
  const noise = (): string => Math.random().toString(36).repeat(2);
  const traces = Array.from({ length: TRACES }, (_, i) =>
    aTrace(firstTrace + i, SPANS, () => ({
      name: noise(),
      startUnixNano,
      endUnixNano: startUnixNano + 1000n,
    })),
  );
  return encodeTraces(traces.flat());
}

/** Spans of traces that the ingester has. */
async function spansIn(t: Test, ingester: RunningTempo, firstTrace: number): Promise<number> {
  const channel = openChannel(t, ingester.ports.grpc);
  let spans = 0;
  for (let i = 0; i < TRACES; i++) {
    const ask = field(1, Buffer.from(hexId(firstTrace + i, 16), 'hex'));
    const answer = await channel.unary('/tempopb.Querier/FindTraceByID', ask, { [TENANT_HEADER]: TENANT });
    const trace = readFields(answer).find(({ number }) => number === 1)?.payload ?? new Uint8Array(0);
    spans += decodeTraces(trace).length;
  }
  return spans;
}

interface Member {
  readonly target: 'ingester' | 'distributor';
  readonly program: string | undefined;
  readonly compression: string;
}

async function startMember(
  folder: string,
  { target, program, compression }: Member,
  gossip: { readonly port: number; readonly seed: number },
): Promise<RunningTempo> {
  const { port, seed } = gossip;
  const ring = 'ring: { replication_factor: 1, kvstore: { store: memberlist } }';
  return startTempo(`${folder}/${target}`, {
    yaml: `
memberlist:
  { node_name: ${target}, bind_addr: [127.0.0.1], advertise_addr: 127.0.0.1, bind_port: ${port},
    advertise_port: ${port}, join_members: ['127.0.0.1:${seed}'] }
ingester: { lifecycler: { id: ${target}, address: 127.0.0.1, min_ready_duration: 0s, ${ring} } }
ingester_client: { grpc_client_config: { grpc_compression: '${compression}' } }
`,
    args: [`-target=${target}`],
    ...(program === undefined ? {} : { program }),
  });
}

const OURS = undefined;
const PAIRS = [
  { name: 'our distributor, their ingester, snappy', from: OURS, to: THEIRS, compression: 'snappy' },
  { name: 'our distributor, their ingester, gzip', from: OURS, to: THEIRS, compression: 'gzip' },
  { name: 'their distributor, our ingester, snappy', from: THEIRS, to: OURS, compression: 'snappy' },
  { name: 'their distributor, our ingester, gzip', from: THEIRS, to: OURS, compression: 'gzip' },
];

for (const { name, from, to, compression } of PAIRS) {
  t.test(name, async (t) => {
    const folder = testFolder(t);
    const [seed, other] = [await freePort(), await freePort()];
    const receiver: Member = { target: 'ingester', program: to, compression };
    const ingester = await startMember(folder, receiver, { port: seed, seed });
    t.teardown(() => ingester.kill());
    const sender: Member = { target: 'distributor', program: from, compression };
    const distributor = await startMember(folder, sender, { port: other, seed });
    t.teardown(() => distributor.kill());
    const request = requestOf(1);
    // The ring is not known at once.
    const sent = async (): Promise<boolean> => (await httpExport(distributor, request)).status === 200;
    t.ok(await until(sent, LIMIT_MS), distributor.output().slice(-2000));
    t.equal(await spansIn(t, ingester, 1), TRACES * SPANS);
    const bytes = await metric(ingester, PUSHED_BYTES);
    t.ok(bytes > 0 && bytes < request.length, `${bytes} bytes came, of ${request.length} in OTLP`);
  });
}

t.test('their receiver takes OTLP in Snappy', async (t) => {
  const real = await startTempo(testFolder(t), { program: THEIRS });
  t.teardown(() => real.kill());
  const { encoding, run } = messageCompression('snappy')!;
  const channel = openChannel(t, real.ports.otlpGrpc);
  for (const [firstTrace, large] of [
    [1, true],
    [1001, false],
  ] as const) {
    const request = large ? requestOf(firstTrace) : encodeTraces(aTrace(firstTrace, SPANS));
    await channel.unary(EXPORT, await run(request), { 'grpc-encoding': encoding });
    const found = async (): Promise<boolean> =>
      (await real.get(`/api/traces/${hexId(firstTrace, 16)}`)).status === 200;
    t.ok(await until(found), `${request.length} bytes`);
  }
});

/** The block that real Tempo wrote, as that of the one tenant. */
function copyBlock(folder: string): void {
  const from = 'test/golden/vparquet4';
  const meta = JSON.parse(readFileSync(join(from, 'meta.json'), 'utf8')) as { readonly blockID: string };
  const to = join(folder, TENANT, meta.blockID);
  mkdirSync(to, { recursive: true });
  for (const object of ['data.parquet', 'bloom-0']) copyFileSync(join(from, object), join(to, object));
  writeFileSync(join(to, 'meta.json'), JSON.stringify({ ...meta, tenantID: TENANT }));
}

for (const compression of ['snappy', 'gzip', '']) {
  t.test(`our querier works for their query-frontend, '${compression}'`, async (t) => {
    const folder = testFolder(t);
    copyBlock(`${folder}/blocks`);
    const backend = `    backend: local\n    local: { path: '${folder}/blocks' }\n    blocklist_poll: 1s\n`;
    const ports = await freePorts();
    const yaml = 'query_frontend: { search: { max_duration: 0s } }\n';
    const args = ['-target=query-frontend'];
    const starting = startTempo(`${folder}/frontend`, { program: THEIRS, backend, yaml, args, ports });
    const client = `grpc_client_config: { grpc_compression: '${compression}' }`;
    const querier = await startTempo(`${folder}/querier`, {
      backend,
      yaml: `querier: { frontend_worker: { frontend_address: '127.0.0.1:${ports.grpc}', ${client} } }\n`,
      args: ['-target=querier'],
    });
    t.teardown(() => querier.kill());
    const frontend = await starting;
    t.teardown(() => frontend.kill());
    const found = async (): Promise<boolean> => {
      const response = await frontend.get(SEARCH);
      const { traces = [] } = (await response.json()) as { readonly traces?: readonly unknown[] };
      return traces.length > 50;
    };
    t.ok(await until(found, LIMIT_MS), frontend.output().slice(-2000) + querier.output().slice(-2000));
  });
}
