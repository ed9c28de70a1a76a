// One trace in several sources: of copies that hold the same spans one is read, and what cannot be read of
// one copy is read of another.
import t from 'tap';
import { TempoError } from '../../src/lib/errors.ts';
import { MemoryStore } from '../../src/objectstore/memory.ts';
import type { ScanSource, TraceJobResult } from '../../src/store/scan-job.ts';
import { Scanner } from '../../src/store/scanner.ts';
import { aResource, aSpan, decodeTraces, hexId, START_NANO, type TestSpan } from '../support/otlp.ts';
import { asBlock } from '../support/scan-sources.ts';

const { signal } = new AbortController();
const TRACE = hexId(7n, 16);
const ID = Uint8Array.from(Buffer.from(TRACE, 'hex'));
const SPANS = 40;

/** Counts what is read of each block, damages one, and has no objects any more after so many reads. */
class WatchedStore extends MemoryStore {
  readonly bytesOf = new Map<string, number>();
  damaged = '';
  readsLeft = Infinity;

  constructor() {
    super(() => 0);
  }

  override async readRange(key: string, offset: number, length: number): Promise<Uint8Array> {
    const block = key.split('/')[1]!;
    if (this.readsLeft-- <= 0) throw new TempoError('not_found', `no ${key}`);
    this.bytesOf.set(block, (this.bytesOf.get(block) ?? 0) + length);
    const bytes = (await super.readRange(key, offset, length)).slice();
    const isPage = key.endsWith('data.parquet') && length < 200;
    if (block === this.damaged && isPage) bytes.fill(0xff);
    return bytes;
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

t.test('one of equal copies is read', async (t) => {
  const store = new WatchedStore();
  const sources = await replicas(store);
  const cold = (): Scanner => new Scanner({ local: store, backend: store, cacheBytes: 1 << 20 });
  const alone = await find(cold(), sources.slice(0, 1));
  store.bytesOf.clear();
  const all = await find(cold(), sources);
  t.same(idsOf(all), EVERY);
  t.equal(Buffer.compare(all.trace!, alone.trace!), 0, 'as of the first alone');
  t.same(all.failures, []);
  const [first, second, third] = ['block-5', 'block-11', 'block-23'].map((id) => store.bytesOf.get(id)!);
  t.ok(second! < first! && third! < first!, `${first}, ${second} and ${third} bytes`);
  t.ok(all.inspectedBytes > alone.inspectedBytes, 'what was looked at counts');
});

t.test('copies that differ come together', async (t) => {
  const store = new WatchedStore();
  const [first, second] = await replicas(store);
  const half = await asBlock(store, 'block-half', someSpans(1, SPANS / 2));
  const scanner = new Scanner({ local: store, backend: store, cacheBytes: 1 << 20 });
  t.same(idsOf(await find(scanner, [half, first!, second!])), EVERY);
  t.same(idsOf(await find(scanner, [half])), EVERY.slice(0, SPANS / 2));
});

t.test('where one cannot be read another one is, and that is told', async (t) => {
  const store = new WatchedStore();
  const sources = await replicas(store);
  const scanner = new Scanner({ local: store, backend: store, cacheBytes: 1 << 20 });
  // Footer, bloom filter and page indexes are known from then on.
  t.same(idsOf(await find(scanner, sources)), EVERY);
  store.damaged = 'block-5';
  const found = await find(scanner, sources);
  t.same(idsOf(found), EVERY);
  t.same(
    found.failures.map(({ source, code }) => [source, code]),
    [['block-5', 'block_corrupt']],
  );
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
