// A distributor and three ingesters in processes of their own, with replication factor 3: ingesters are
// killed, stopped and started again while spans come in, and every acknowledged trace is found.
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { connectOtlp, type OtlpClient } from '../../src/rpc/otlp-client.ts';
import { freePort } from '../support/free-port.ts';
import { heldBy } from '../support/held-traces.ts';
import { aSpan, encodeTraces, hexId } from '../support/otlp.ts';
import { freePorts, type RunningTempo, type StartOptions, startTempo } from '../support/server.ts';

t.setTimeout(180_000);

const INGESTERS = 3;
const SENDERS = 2;
const TRACES_A_PUSH = 5;
/** Pushes that are waited for between two events. */
const PUSHES = 20;

const data = mkdtempSync(join(tmpdir(), 'tempo-ring-'));
const gossipPorts = await Promise.all(Array.from({ length: INGESTERS + 1 }, freePort));
const ports = await Promise.all(Array.from({ length: INGESTERS + 1 }, freePorts));
const acknowledged = new Set<string>();
let refused: string[] = [];
let pushes = 0;
let traces = 0;
let isOver = false;

function optionsOf(i: number, target: string): StartOptions {
  const members = gossipPorts.map((port) => `127.0.0.1:${port}`).join(', ');
  return {
    ports: ports[i]!,
    args: [`-target=${target}`],
    yaml: `
memberlist:
  bind_addr: [127.0.0.1]
  bind_port: ${gossipPorts[i]}
  advertise_addr: 127.0.0.1
  advertise_port: ${gossipPorts[i]}
  gossip_interval: 100ms
  join_members: [${members}]
ingester_client:
  grpc_client_config: { connect_backoff_base_delay: 20ms, connect_backoff_max_delay: 200ms }
ingester:
  lifecycler:
    id: ingester-${i}
    address: 127.0.0.1
    min_ready_duration: 0s
    readiness_check_ring_health: false
    unregister_on_shutdown: false
    num_tokens: 32
    ring: { replication_factor: 3, kvstore: { store: memberlist } }
`,
  };
}

const startIngester = (i: number): Promise<RunningTempo> =>
  startTempo(join(data, `ingester-${i}`), optionsOf(i, 'ingester'));

async function push(client: OtlpClient): Promise<void> {
  const startUnixNano = BigInt(Date.now()) * 1_000_000n;
  const ids = Array.from({ length: TRACES_A_PUSH }, () =>
    createHash('md5').update(`${++traces}`).digest('hex'),
  );
  const spans = ids.map((traceId, i) =>
    aSpan({ traceId, spanId: hexId(i + 1, 8), startUnixNano, endUnixNano: startUnixNano + 1000n }),
  );
  try {
    const { rejectedSpans } = await client.send(encodeTraces(spans));
    if (rejectedSpans > 0) refused.push(`${rejectedSpans} spans`);
    else for (const id of ids) acknowledged.add(id);
  } catch (err) {
    refused.push(err instanceof Error ? err.message : String(err));
  }
  pushes++;
}

async function send(port: number): Promise<void> {
  const client = await connectOtlp(`http://127.0.0.1:${port}`);
  while (!isOver) await push(client);
  client.close();
}

/** Resolves when so many more pushes are answered. @returns why some of them were refused. */
async function pushesGoOn(): Promise<readonly string[]> {
  refused = [];
  const until = pushes + PUSHES;
  while (pushes < until) await pause(5);
  return refused;
}

async function countOf(tempo: RunningTempo, state: string): Promise<number> {
  const text = await (await tempo.get('/metrics')).text();
  return Number(
    new RegExp(`tempo_ring_members\\{name="ingester",state="${state}"\\} (\\d+)`).exec(text)?.[1],
  );
}

async function untilActive(tempo: RunningTempo, count: number): Promise<void> {
  while ((await countOf(tempo, 'ACTIVE')) !== count) await pause(20);
}

t.test('ingesters come and go', { timeout: 180_000 }, async (t) => {
  const ingesters = await Promise.all(Array.from({ length: INGESTERS }, (_, i) => startIngester(i)));
  const distributor = await startTempo(join(data, 'distributor'), optionsOf(INGESTERS, 'distributor'));
  t.teardown(async () => {
    isOver = true;
    await Promise.all([distributor.kill(), ...ingesters.map((each) => each.kill())]);
    rmSync(data, { recursive: true, force: true });
  });
  await untilActive(distributor, INGESTERS);
  const senders = Array.from({ length: SENDERS }, () => send(distributor.ports.otlpGrpc));
  t.same(await pushesGoOn(), [], 'all is well');

  for (const i of [0, 1]) {
    await ingesters[i]!.kill();
    t.same(await pushesGoOn(), [], `ingester ${i} is killed: two are a quorum`);
    ingesters[i] = await startIngester(i);
    await untilActive(distributor, INGESTERS);
    t.same(await pushesGoOn(), [], `ingester ${i} is back`);
  }

  t.equal(await ingesters[2]!.stop(), 0);
  t.same(await pushesGoOn(), [], 'ingester 2 is stopped in good order');
  ingesters[2] = await startIngester(2);
  await untilActive(distributor, INGESTERS);
  t.same(await pushesGoOn(), []);

  const before = acknowledged.size;
  await Promise.all([ingesters[0]!.kill(), ingesters[1]!.kill()]);
  while (refused.length < SENDERS) await pause(5);
  const kept = acknowledged.size;
  const reasons = await pushesGoOn();
  t.ok(reasons.length >= PUSHES, 'two are away: nothing is acknowledged');
  t.ok(
    reasons.every((reason) => reason.startsWith('gRPC status 14:')),
    reasons[0] ?? '',
  );
  t.equal(acknowledged.size, kept);
  ingesters[0] = await startIngester(0);
  ingesters[1] = await startIngester(1);
  while ((await pushesGoOn()).length > 0) await pause(5);
  t.ok(acknowledged.size > before, 'and they are back');

  isOver = true;
  await Promise.all(senders);
  const sets = await Promise.all(ports.slice(0, INGESTERS).map((port) => heldBy(port.grpc, acknowledged)));
  const copies = [...acknowledged].map((id) => sets.filter((set) => set.has(id)).length);
  t.ok(acknowledged.size > PUSHES * TRACES_A_PUSH * 5, `${acknowledged.size} traces were acknowledged`);
  t.equal(copies.filter((count) => count < 2).length, 0, 'each is found in two ingesters at least');
});
