// One trace in several sources: of copies that hold the same spans one is read, and what cannot be read of
// one copy is read of another.
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { TempoError } from '../../src/lib/errors.ts';
import { MemoryStore } from '../../src/objectstore/memory.ts';
import type { ScanFailure, ScanSource, TraceJobResult } from '../../src/store/scan-job.ts';
import { Scanner } from '../../src/store/scanner.ts';
import { findTraceParts } from '../../src/store/trace-parts.ts';
import { aResource, aSpan, decodeTraces, hexId, START_NANO, type TestSpan } from '../support/otlp.ts';
import { asBlock } from '../support/scan-sources.ts';

const { signal } = new AbortController();
const TRACE = hexId(7n, 16);
const ID = Uint8Array.from(Buffer.from(TRACE, 'hex'));
const SPANS = 40;

/** Counts what is read of each block; damages one read of a block, and has no objects after so many reads. */
class WatchedStore extends MemoryStore {
  readonly bytesOf = new Map<string, number>();
  damaged = '';
  /** Which of its reads, from 0. */
  damagedRead = -1;
  readsLeft = Infinity;
  /** Blocks answer in another order than they are asked. */
  isSlow = false;

  constructor() {
    super(() => 0);
  }

  override async read(key: string): Promise<Uint8Array> {
    if (this.isSlow) await pause(key.length % 2 === 0 ? 4 : 0);
    return this.seen(key, await super.read(key));
  }

  override async readRange(key: string, offset: number, length: number): Promise<Uint8Array> {
    return this.seen(key, (await super.readRange(key, offset, length)).slice());
  }

  private seen(key: string, bytes: Uint8Array): Uint8Array {
    const block = key.split('/')[1]!;
    if (this.readsLeft-- <= 0) throw new TempoError('not_found', `no ${key}`);
    this.bytesOf.set(block, (this.bytesOf.get(block) ?? 0) + bytes.length);
    const isMeant = block === this.damaged && key.endsWith('data.parquet');
    return isMeant && this.damagedRead-- === 0 ? new Uint8Array(bytes.length).fill(0xff) : bytes;
  }
}

function someSpans(seed: number, count = SPANS): TestSpan[] {
  const others = Array.from({ length: 30 }, (_, i) =>
    aSpan({ traceId: hexId(BigInt(seed * 1000 + i), 16), spanId: hexId(1, 8) }),
  );
  const own = Array.from({ length: count }, (_, i) =>
    aSpan({
      traceId: TRACE,
      spanId: hexId(i + 1, 8),
      name: `op-${i}`,
      startUnixNano: START_NANO + BigInt(i),
      endUnixNano: START_NANO + BigInt(i + 1),
      resource: aResource(`service-${i % 3}`),
    }),
  );
  // Replicas take spans in orders of their own.
  return [...others, ...own.slice(seed % count), ...own.slice(0, seed % count)];
}

async function find(scanner: Scanner, sources: readonly ScanSource[]): Promise<TraceJobResult> {
  const job = { kind: 'trace', id: ID, sources, format: 'proto', bytesMax: 0 } as const;
  return (await scanner.run(job, signal)) as TraceJobResult;
}

function idsOf({ trace }: TraceJobResult): readonly string[] {
  return decodeTraces(trace!)
    .map(({ spanId }) => spanId)
    .sort();
}

const EVERY = Array.from({ length: SPANS }, (_, i) => hexId(i + 1, 8));

async function replicas(store: MemoryStore): Promise<ScanSource[]> {
  return Promise.all([5, 11, 23].map((seed) => asBlock(store, `block-${seed}`, someSpans(seed))));
}

const sum = (bytes: Iterable<number>): number => [...bytes].reduce((all, some) => all + some, 0);

t.test('one of equal copies is read', async (t) => {
  const store = new WatchedStore();
  const sources = await replicas(store);
  // Small blocks are read whole where they are remote.
  for (const isRemote of [false, true]) {
    const cold = (): Scanner => new Scanner({ local: store, backend: store, cacheBytes: 1 << 20, isRemote });
    const alone = await find(cold(), sources.slice(0, 1));
    store.bytesOf.clear();
    const all = await find(cold(), sources);
    t.same(idsOf(all), EVERY);
    t.equal(Buffer.compare(all.trace!, alone.trace!), 0, 'as of the first alone');
    t.same(all.failures, []);
    const [first, second, third] = ['block-5', 'block-11', 'block-23'].map((id) => store.bytesOf.get(id)!);
    if (isRemote) continue;
    // Of the others no more than what finds the trace, and two columns.
    t.ok(Math.max(second!, third!) < first! * 0.9, `${first}, ${second} and ${third} bytes`);
    t.equal(all.inspectedBytes, sum(store.bytesOf.values()), 'what was read counts, once');
  }
});

t.test('copies that differ come together', async (t) => {
  const store = new WatchedStore();
  const [first, second] = await replicas(store);
  const half = await asBlock(store, 'block-half', someSpans(1, SPANS / 2));
  const scanner = new Scanner({ local: store, backend: store, cacheBytes: 1 << 20 });
  t.same(idsOf(await find(scanner, [half, first!, second!])), EVERY);
  t.same(idsOf(await find(scanner, [half])), EVERY.slice(0, SPANS / 2));
});

t.test('copies with an id twice come together as any others', async (t) => {
  const store = new WatchedStore();
  const [client, ...others] = someSpans(3, 5).filter(({ traceId }) => traceId === TRACE);
  const spans = [client!, { ...client!, kind: client!.kind + 1 }, ...others];
  const sources = await Promise.all([1, 2].map((i) => asBlock(store, `block-${i}`, spans)));
  const scanner = new Scanner({ local: store, backend: store, cacheBytes: 1 << 20 });
  t.equal(idsOf(await find(scanner, sources)).length, spans.length, 'both kinds are spans of their own');
  const failures: ScanFailure[] = [];
  const once = await findTraceParts(scanner.blocks, { sources, id: ID }, 1, failures, signal);
  t.match(once, { found: { length: 1 }, hasRepeats: true }, 'which a head is to tell apart');
  const plain = await replicas(store);
  const { hasRepeats } = await findTraceParts(
    scanner.blocks,
    { sources: plain, id: ID },
    1,
    failures,
    signal,
  );
  t.notOk(hasRepeats);
});

t.test('a hundred copies, whole and in part', async (t) => {
  const store = new WatchedStore();
  const spans = someSpans(3).filter(({ traceId }) => traceId === TRACE);
  const sources: ScanSource[] = [];
  for (let i = 0; i < 100; i++) {
    const some = i % 10 === 7 ? spans.slice(i % 9, SPANS / 2 + (i % 9)) : i === 99 ? spans : spans.slice(5);
    sources.push(await asBlock(store, `block-${i}`, some));
  }
  const answers: Uint8Array[] = [];
  for (const isRemote of [false, true]) {
    const scanner = new Scanner({ local: store, backend: store, cacheBytes: 1 << 20, isRemote });
    store.isSlow = isRemote;
    const found = await find(scanner, sources);
    t.same(idsOf(found), EVERY);
    t.same(found.failures, []);
    answers.push(found.trace!);
  }
  t.equal(Buffer.compare(answers[0]!, answers[1]!), 0, 'the same spans in the same order');
});

t.test('where one cannot be read another one is, and that is told', async (t) => {
  const store = new WatchedStore();
  const sources = await replicas(store);
  let told = 0;
  for (let read = 0; ; read++) {
    const scanner = new Scanner({ local: store, backend: store, cacheBytes: 1 << 20 });
    store.damaged = 'block-5';
    store.damagedRead = read;
    const found = await find(scanner, sources);
    t.same(idsOf(found), EVERY, `read ${read} is damaged`);
    for (const { source, code } of found.failures) t.same([source, code], ['block-5', 'block_corrupt']);
    t.ok(found.failures.length <= 1, 'told once');
    told += found.failures.length;
    if (store.damagedRead >= 0) {
      t.ok(read > 4 && told > 3, `${told} of ${read} reads are needed`);
      return;
    }
  }
});

t.test('a block that leaves the folder between two reads', async (t) => {
  const [local, backend] = [new WatchedStore(), new MemoryStore(() => 0)];
  const [source] = await replicas(local);
  await replicas(backend);
  const here = { ...source!, location: 'local' } as ScanSource;
  const readsOf = async (readsLeft: number): Promise<number> => {
    local.readsLeft = readsLeft;
    const scanner = new Scanner({ local, backend, cacheBytes: 1 << 20 });
    t.same(idsOf(await find(scanner, [here])), EVERY, `after ${readsLeft} reads`);
    return readsLeft - local.readsLeft;
  };
  const all = await readsOf(1e6);
  t.ok(all > 3);
  for (let reads = 0; reads < all; reads++) await readsOf(reads);
});
