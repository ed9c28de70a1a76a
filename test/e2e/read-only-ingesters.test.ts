// Ingesters that are told to take nothing more before they go: distributors leave them out, queriers ask them
// as long as what they have may be nowhere else, a restart changes nothing of it, and they can be taken back.
// With shuffle sharding queriers ask the ingesters of a tenant and no others.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import t from 'tap';
import { freePort } from '../support/free-port.ts';
import { httpExport, metric, until } from '../support/hostile.ts';
import { aSpan, encodeTraces } from '../support/otlp.ts';
import { tracesFound } from '../support/read-api.ts';
import { freePorts, type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

t.setTimeout(180_000);

const HOOK = '/ingester/prepare-instance-ring-downscale';
const TRACES = 60;
const NAMES = ['ingester-0', 'ingester-1', 'ingester-2', 'distributor', 'querier', 'late-querier'] as const;
type Name = (typeof NAMES)[number];
const INGESTERS = NAMES.slice(0, 3);

const folder = testFolder(t);
const running = new Map<Name, RunningTempo>();
t.teardown(() => Promise.all([...running.values()].map((tempo) => tempo.kill())));
const addresses = new Map(
  await Promise.all(
    NAMES.map(async (name) => [name, { ports: await freePorts(), gossip: await freePort() }] as const),
  ),
);
const at = (name: Name): RunningTempo => running.get(name)!;
let pushed = 0;

const TARGETS: Partial<Record<Name, string>> = {
  distributor: 'distributor',
  querier: 'querier,query-frontend',
  'late-querier': 'querier,query-frontend',
};
/** Long enough, and too short for what the test does. */
const LOOKBACK: Partial<Record<Name, string>> = { querier: '1h', 'late-querier': '1s' };

async function start(name: Name): Promise<void> {
  const { ports, gossip } = addresses.get(name)!;
  const members = [...addresses.values()].map((each) => `127.0.0.1:${each.gossip}`);
  const yaml = `
multitenancy_enabled: true
memberlist:
  bind_addr: [127.0.0.1]
  bind_port: ${gossip}
  advertise_addr: 127.0.0.1
  advertise_port: ${gossip}
  gossip_interval: 100ms
  join_members: [${members.join(', ')}]
ingester_client:
  grpc_client_config: { connect_backoff_base_delay: 20ms, connect_backoff_max_delay: 200ms }
ingester:
  lifecycler:
    id: ${name}
    address: 127.0.0.1
    min_ready_duration: 0s
    unregister_on_shutdown: false
    ring: { replication_factor: 1, kvstore: { store: memberlist } }
querier:
  shuffle_sharding_ingesters_enabled: true
  shuffle_sharding_ingesters_lookback_period: ${LOOKBACK[name] ?? '1h'}
overrides:
  per_tenant_override_config: ${folder}/overrides.yaml
`;
  const args = [`-target=${TARGETS[name] ?? 'ingester'}`];
  running.set(name, await startTempo(`${folder}/${name}`, { ports, args, yaml }));
}

const idOf = (number: number): string => createHash('md5').update(`${number}`).digest('hex');

async function push(tenant: string): Promise<void> {
  const startUnixNano = BigInt(Date.now()) * 1_000_000n;
  // Tokens of ids that follow each other are neighbours.
  const spans = Array.from({ length: TRACES }, () =>
    aSpan({ traceId: idOf(++pushed), startUnixNano, endUnixNano: startUnixNano + 1000n }),
  );
  const headers = { 'x-scope-orgid': tenant };
  const { status, body } = await httpExport(at('distributor'), encodeTraces(spans), headers);
  assert.equal(status, 200, body.toString());
}

/** Traces that each ingester has taken in. */
function taken(tenant: string): Promise<number[]> {
  const sample = `tempo_ingester_traces_created_total{tenant="${tenant}"}`;
  return Promise.all(INGESTERS.map((name) => metric(at(name), sample)));
}

/** Those that an ingester has taken since. */
async function takenBy(tenant: string, what: () => Promise<void>): Promise<number[]> {
  const before = await taken(tenant);
  await what();
  const settled = async (): Promise<boolean> => (await sum()) >= TRACES;
  const sum = async (): Promise<number> =>
    (await taken(tenant)).reduce((all, count, i) => all + count - before[i]!, 0);
  assert.ok(await until(settled));
  return (await taken(tenant)).map((count, i) => count - before[i]!);
}

const found = (name: Name, tenant: string): Promise<number> => tracesFound(at(name), tenant);

async function hook(method: 'GET' | 'POST' | 'DELETE'): Promise<number> {
  const response = await fetch(at('ingester-0').url + HOOK, { method });
  assert.equal(response.status, 200);
  return ((await response.json()) as { readonly timestamp: number }).timestamp;
}

interface Shown {
  readonly id: string;
  readonly read_only: boolean;
}

/** Resolves when those who push and ask know of ingester-0 what it says itself. */
async function untilKnown(isReadOnly: boolean): Promise<void> {
  for (const name of ['distributor', 'querier', 'late-querier'] as const) {
    const knows = async (): Promise<boolean> => {
      const response = await fetch(`${at(name).url}/ingester/ring`, {
        headers: { accept: 'application/json' },
      });
      const { shards } = (await response.json()) as { readonly shards: readonly Shown[] };
      return shards.some((each) => each.id === 'ingester-0' && each.read_only === isReadOnly);
    };
    assert.ok(await until(knows), `${name} knows`);
  }
}

await t.test('the ring is whole', async (t) => {
  const limits = 'tenant_shard_size: 1, rate_limit_bytes: 1000000, burst_size_bytes: 1000000';
  writeFileSync(`${folder}/overrides.yaml`, `overrides: { small: { ingestion: { ${limits} } } }\n`);
  await Promise.all(NAMES.map(start));
  for (const name of ['distributor', 'querier', 'late-querier'] as const) {
    const active = 'tempo_ring_members{name="ingester",state="ACTIVE"}';
    t.ok(await until(async () => (await metric(at(name), active)) === 3), name);
  }
  const counts = await takenBy('team', () => push('team'));
  t.ok(
    counts.every((count) => count > 0),
    `all of them take spans: ${counts.join()}`,
  );
  t.equal(await found('querier', 'team'), TRACES);
});

await t.test('an ingester that is read-only', async (t) => {
  t.equal(await hook('GET'), 0);
  const sinceSec = await hook('POST');
  t.ok(Math.abs(sinceSec - Date.now() / 1000) < 60, 'since now');
  t.equal(await hook('POST'), sinceSec, 'said twice it is as old');
  await untilKnown(true);
  t.equal(await metric(at('ingester-0'), 'tempo_lifecycler_read_only{name="ingester"}'), 1);
  const counts = await takenBy('team', () => push('team'));
  t.equal(counts[0], 0, 'takes nothing');
  t.equal(counts[1]! + counts[2]!, TRACES);
  t.equal(await found('querier', 'team'), 2 * TRACES, 'and is asked for what it has');
  const ofOthers = 2 * TRACES - (await taken('team'))[0]!;
  t.ok(
    await until(async () => (await found('late-querier', 'team')) === ofOthers),
    'until that is elsewhere',
  );
  t.equal(await at('ingester-0').stop(), 0);
  await start('ingester-0');
  t.equal(await hook('GET'), sinceSec, 'a restart does not change it');
  await untilKnown(true);
  t.equal(await found('querier', 'team'), 2 * TRACES);
  const after = await takenBy('team', () => push('team'));
  t.equal(after[0], 0, 'it still takes nothing');
});

await t.test('and is not any more', async (t) => {
  t.equal(await hook('DELETE'), 0);
  t.equal(await hook('GET'), 0);
  await untilKnown(false);
  const counts = await takenBy('team', () => push('team'));
  t.ok(counts[0]! > 0, 'takes spans again');
  t.equal(await found('querier', 'team'), 4 * TRACES);
  t.equal(await found('late-querier', 'team'), 4 * TRACES);
});

await t.test('a tenant with a shard of its own', async (t) => {
  const counts = await takenBy('small', () => push('small'));
  t.same(
    counts.filter((count) => count > 0),
    [TRACES],
    'is written to one ingester',
  );
  t.equal(await found('late-querier', 'small'), TRACES, 'which has all');
  const id = idOf(pushed);
  const headers = { 'x-scope-orgid': 'small' };
  t.equal((await fetch(`${at('late-querier').url}/api/traces/${id}`, { headers })).status, 200);
  // Without the others nothing is missing: they are not asked.
  const others = INGESTERS.filter((_, i) => counts[i] === 0);
  await Promise.all(others.map((name) => at(name).kill()));
  t.equal(await found('late-querier', 'small'), TRACES);
});
