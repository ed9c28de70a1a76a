// Several servers over one bucket, and what must hold of them whatever happens: no acknowledged span is lost,
// none is in an answer twice, nothing is deleted whose spans are nowhere else, and a block that has a meta is
// whole. What is wrong is noted in `wrong`.
import { metaFromJson } from '../../src/block/meta-json.ts';
import { META_NAME } from '../../src/block/meta.ts';
import type { SearchAnswer, TraceAnswer } from '../../src/contracts/query.ts';
import { readRows } from './block-rows.ts';
import { type Faults, NO_FAULTS } from './faulty-bucket.ts';
import { Chance } from './fuzz.ts';
import { MemoryBucket } from './memory-bucket.ts';
import { aSpan, type Attribute, decodeTraces, hexId, START_NANO, type TestSpan } from './otlp.ts';
import { Disk, StoreProcess } from './store-process.ts';

export const TENANTS = ['one', 'two'];
const TRACES = 12;
const HOUR_MS = 3_600_000;
const BLOCK_RETENTION_MS = 30 * HOUR_MS;
export const COMPACTED_RETENTION_MS = HOUR_MS;

/** `trace/span` of a tenant. */
type Key = string;

interface Acknowledged {
  readonly endMs: number;
  /** Index of the process that has it in its log, its local blocks or its blocklist. */
  readonly owner: number;
}

interface Seat {
  readonly disk: Disk;
  process: StoreProcess;
  /** Spans of others that were in the bucket when it was listed last, by tenant. */
  seen: Map<string, Set<Key>>;
}

export class World {
  readonly chance: Chance;
  readonly bucket: MemoryBucket;
  readonly seats: Seat[] = [];
  readonly wrong: string[] = [];
  readonly counts: Record<string, number> = {};
  /** What happened, for comparing two runs. */
  readonly story: string[] = [];
  faults: Faults = NO_FAULTS;
  nowMs = Number(START_NANO / 1_000_000n);
  /** A rule of the bucket deletes parts of blocks: their spans may be gone. */
  private readonly excused = new Map<string, Set<Key>>();
  private readonly acknowledged = new Map<string, Map<Key, Acknowledged>>();
  /** What a block was seen to hold, by its folder. */
  private readonly contents = new Map<string, ReadonlySet<Key>>();
  private readonly spans = new Map<string, TestSpan[]>();
  private nextSpan = 1;
  private nextBlock = 1;

  constructor(seed: number, processes: number) {
    this.chance = new Chance(seed);
    this.bucket = new MemoryBucket(() => this.nowMs);
    for (const tenant of TENANTS) {
      this.acknowledged.set(tenant, new Map());
      this.excused.set(tenant, new Set());
      this.spans.set(tenant, []);
    }
    for (let i = 0; i < processes; i++) {
      const disk = new Disk(() => this.nowMs);
      this.seats.push({ disk, process: this.newProcess(disk), seen: new Map() });
    }
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  /** A process over what its disk holds. */
  private newProcess(disk: Disk): StoreProcess {
    return new StoreProcess({
      inner: this.bucket,
      chance: this.chance,
      faults: () => this.faults,
      before: (change, key, bytes) => this.before(change, key, bytes),
      disk,
      nowMs: () => this.nowMs,
      newBlockId: () => this.newBlockId(),
      blockRetentionMs: BLOCK_RETENTION_MS,
      compactedRetentionMs: COMPACTED_RETENTION_MS,
    });
  }

  private newBlockId(): string {
    // ids that do not come in the order of their times
    const start = hexId(this.chance.below(2 ** 32), 4);
    return `${start}-0000-4000-8000-${String(this.nextBlock++).padStart(12, '0')}`;
  }

  /** The process is gone, and another one begins on its disk. */
  async restart(i: number): Promise<void> {
    const seat = this.seats[i]!;
    this.story.push(`restart of ${i}`);
    seat.process.life.isOver = true;
    seat.process = this.newProcess(seat.disk);
    seat.seen = new Map();
    await this.polling(i, () => seat.process.start());
  }

  push(i: number): void {
    const { chance } = this;
    const tenant = chance.of(TENANTS);
    const known = this.spans.get(tenant)!;
    const spans = Array.from({ length: 1 + chance.below(6) }, () =>
      known.length > 0 && chance.once(8) ? chance.of(known) : this.aSpan(),
    );
    known.push(...spans);
    this.seats[i]!.process.push(tenant, spans);
    const acknowledged = this.acknowledged.get(tenant)!;
    for (const span of spans) {
      const endMs = Number(span.endUnixNano / 1_000_000n);
      const key = keyOf(span);
      if (!acknowledged.has(key)) acknowledged.set(key, { endMs, owner: i });
    }
  }

  private aSpan(): TestSpan {
    const { chance } = this;
    const ageMs = chance.once(6) ? chance.below(BLOCK_RETENTION_MS * 1.1) : chance.below(HOUR_MS);
    const startUnixNano = BigInt(this.nowMs - ageMs) * 1_000_000n;
    const id = this.nextSpan++;
    const attributes: Attribute[] = [['n', BigInt(id)]];
    return aSpan({
      traceId: hexId(1 + chance.below(TRACES), 16),
      spanId: hexId(id, 8),
      startUnixNano,
      endUnixNano: startUnixNano + BigInt(chance.below(2_000_000_000)),
      attributes,
    });
  }

  async poll(i: number): Promise<void> {
    await this.polling(i, (process) => process.poll());
  }

  /** Notes what is in the bucket before it is listed. */
  private async polling(
    i: number,
    poll: (process: StoreProcess) => Promise<readonly string[] | undefined>,
  ): Promise<void> {
    const seat = this.seats[i]!;
    const { process } = seat;
    const there = new Map(TENANTS.map((tenant) => [tenant, this.inBucket(tenant)]));
    const failed = await poll(process);
    this.story.push(`poll by ${i}: failed ${failed?.join() ?? 'all'}`);
    if (failed === undefined || seat.process !== process) return;
    for (const [tenant, keys] of there) {
      if (failed.includes(tenant)) continue;
      const seen = seat.seen.get(tenant) ?? new Set();
      for (const key of keys) seen.add(key);
      seat.seen.set(tenant, seen);
    }
  }

  private inBucket(tenant: string): Set<Key> {
    const keys = new Set<Key>();
    for (const folder of this.liveFolders(tenant)) {
      for (const key of this.contents.get(folder) ?? []) keys.add(key);
    }
    return keys;
  }

  /** Folders of blocks that a listing shows. */
  liveFolders(tenant: string): string[] {
    const end = `/${META_NAME}`;
    return [...this.bucket.objects.keys()]
      .filter((key) => key.startsWith(`${tenant}/`) && key.endsWith(end))
      .map((key) => key.slice(0, -end.length));
  }

  // What must hold

  private async before(change: 'write' | 'delete', key: string, bytes: Uint8Array): Promise<void> {
    this.story.push(`${change} ${key} ${bytes.length}`);
    if (change === 'write' && key.endsWith(`/${META_NAME}`)) await this.lookAt(key, bytes);
    const [tenant = '', block = '', name = ''] = key.split('/');
    if (change === 'delete' && [META_NAME, 'data.parquet'].includes(name)) this.mayGo(tenant, block, name);
  }

  /** A block that gets its meta is whole. */
  private async lookAt(key: string, bytes: Uint8Array): Promise<void> {
    const folder = key.slice(0, -META_NAME.length - 1);
    const { objects } = this.bucket;
    const meta = metaFromJson(bytes);
    const data = objects.get(`${folder}/data.parquet`);
    const blooms = Array.from({ length: meta.bloomShards }, (_, n) => `${folder}/bloom-${n}`);
    const missing = [`${folder}/index`, ...blooms].filter((name) => !objects.has(name));
    if (data?.length !== meta.sizeBytes || missing.length > 0) {
      this.wrong.push(
        `${folder} has a meta, ${data?.length} of ${meta.sizeBytes} bytes and lacks ${missing.join()}`,
      );
      return;
    }
    const rows = await readRows({ meta, objects: new Map([['data.parquet', data.slice()]]) });
    this.contents.set(folder, new Set(rows.flatMap(keysOfRow)));
  }

  /** What is deleted is in another block of the bucket, or on the disk of a process, or too old. */
  private mayGo(tenant: string, block: string, name: string): void {
    const folder = `${tenant}/${block}`;
    const needed = [...(this.contents.get(folder) ?? [])].filter((key) => this.isOwed(tenant, key));
    const held = new Set<Key>();
    for (const other of this.liveFolders(tenant)) {
      const isWhole = this.bucket.objects.has(`${other}/data.parquet`);
      if (other !== folder && isWhole) for (const key of this.contents.get(other) ?? []) held.add(key);
    }
    for (const { disk } of this.seats) for (const key of this.onDisk(disk, tenant)) held.add(key);
    const lost = needed.filter((key) => !held.has(key));
    if (lost.length > 0) this.wrong.push(`${folder}/${name} is deleted, and ${lost.join()} are nowhere else`);
  }

  private *onDisk({ heads, cut }: Disk, tenant: string): Generator<Key> {
    for (const head of [...heads.values(), ...cut]) {
      if (head.tenant === tenant) yield* head.spans.map(keyOf);
    }
  }

  /** A block is live or compacted, not both. */
  checkLists(): void {
    for (const [i, { process }] of this.seats.entries()) {
      for (const tenant of TENANTS) {
        const { live, compacted } = process.blocklist.tenant(tenant);
        const both = [...live.keys()].filter((blockId) => compacted.has(blockId));
        if (both.length > 0) this.wrong.push(`${i} lists ${both.join()} of ${tenant} as live and compacted`);
      }
    }
  }

  /** Must it be in answers? */
  private isOwed(tenant: string, key: Key): boolean {
    const { endMs } = this.acknowledged.get(tenant)!.get(key)!;
    return endMs >= this.nowMs - BLOCK_RETENTION_MS && !this.excused.get(tenant)!.has(key);
  }

  /** What a process must answer with. */
  private owed(i: number, tenant: string): Key[] {
    const seen = this.seats[i]!.seen.get(tenant);
    return [...this.acknowledged.get(tenant)!]
      .filter(([key, { owner }]) => (owner === i || seen?.has(key) === true) && this.isOwed(tenant, key))
      .map(([key]) => key);
  }

  /** @param isCalm the answer must be there. */
  async search(i: number, tenant: string, isCalm: boolean): Promise<void> {
    const { process } = this.seats[i]!;
    const owed = this.owed(i, tenant);
    const answer = await this.asked(process, isCalm, () =>
      process.querier.search({
        tenant,
        query: '{ }',
        range: { startSec: 0, endSec: undefined },
        limit: 1000,
        spansPerSpanSet: 0,
        format: 'json',
      }),
    );
    if (answer === undefined) return;
    const keys = answer.traces.flatMap(({ traceId, body }) => keysOfTrace(traceId, body));
    this.compare(`search of ${tenant} by ${i}`, owed, keys, answer, tenant);
  }

  async byId(i: number, tenant: string, trace: number, isCalm: boolean): Promise<void> {
    const { process } = this.seats[i]!;
    const hex = hexId(trace, 16);
    const owed = this.owed(i, tenant).filter((key) => key.startsWith(`${hex}/`));
    const answer = await this.asked(process, isCalm, () =>
      process.querier.findTrace({
        tenant,
        id: new Uint8Array(Buffer.from(hex, 'hex')),
        range: { startSec: undefined, endSec: undefined },
        from: 'all',
        blocks: undefined,
        bytesMax: 0,
        format: 'proto',
      }),
    );
    if (answer === undefined) return;
    const keys = answer.trace === undefined ? [] : decodeTraces(answer.trace).map(keyOf);
    this.compare(`trace ${trace} of ${tenant} by ${i}`, owed, keys, answer, tenant);
  }

  private async asked<Answer extends SearchAnswer | TraceAnswer>(
    process: StoreProcess,
    isCalm: boolean,
    ask: () => Promise<Answer>,
  ): Promise<Answer | undefined> {
    try {
      const answer = await ask();
      return process.life.isOver ? undefined : answer;
    } catch (err) {
      if (isCalm && !process.life.isOver) this.wrong.push(`a query failed: ${String(err)}`);
      return undefined;
    }
  }

  private compare(
    what: string,
    owed: readonly Key[],
    found: readonly Key[],
    { partial }: Pick<SearchAnswer, 'partial'>,
    tenant: string,
  ): void {
    this.count(partial.length === 0 ? 'whole answers' : 'partial answers');
    const keys = new Set(found);
    if (keys.size < found.length) this.wrong.push(`${what}: ${found.length - keys.size} spans are twice`);
    const acknowledged = this.acknowledged.get(tenant)!;
    const strange = found.filter((key) => !acknowledged.has(key));
    if (strange.length > 0) this.wrong.push(`${what}: ${strange.join()} were never sent`);
    const lost = owed.filter((key) => !keys.has(key) && this.isOwed(tenant, key));
    if (partial.length === 0 && lost.length > 0) {
      this.wrong.push(`${what}: ${lost.join()} lack, which are in ${this.foldersOf(tenant, lost[0]!)}`);
    }
    this.story.push(`${what}: ${found.length} ${partial.length}`);
  }

  /** Who has or had a span, for telling what went wrong. */
  private foldersOf(tenant: string, key: Key): string {
    const { owner } = this.acknowledged.get(tenant)!.get(key)!;
    const folders = [...this.contents].filter(([, keys]) => keys.has(key)).map(([folder]) => folder);
    return [`process ${owner}`, ...folders].join(', ');
  }

  /** As a rule of the bucket does: an object goes, whatever it is a part of. */
  expire(): void {
    const keys = [...this.bucket.objects.keys()].filter((key) =>
      /\/(data|bloom|meta\.json|index$)/.test(key),
    );
    if (keys.length === 0) return;
    const key = this.chance.of(keys);
    const [tenant = '', block = ''] = key.split('/');
    for (const span of this.contents.get(`${tenant}/${block}`) ?? []) this.excused.get(tenant)?.add(span);
    this.bucket.objects.delete(key);
    this.story.push(`expire ${key}`);
    this.count('expired objects');
  }
}

function keyOf({ traceId, spanId }: Pick<TestSpan, 'traceId' | 'spanId'>): Key {
  return `${traceId}/${spanId}`;
}

interface BlockRow {
  readonly TraceID: string;
  readonly rs: readonly { readonly ss: readonly { readonly Spans: readonly { SpanID: string }[] }[] }[];
}

function keysOfRow(row: Readonly<Record<string, unknown>>): Key[] {
  const { TraceID: traceId, rs } = row as unknown as BlockRow;
  return rs.flatMap(({ ss }) =>
    ss.flatMap(({ Spans }) => Spans.map(({ SpanID: spanId }) => keyOf({ traceId, spanId }))),
  );
}

function keysOfTrace(traceId: string, body: Uint8Array): Key[] {
  const { spanSets } = JSON.parse(Buffer.from(body).toString()) as {
    readonly spanSets: readonly { readonly spans: readonly { readonly spanID: string }[] }[];
  };
  const id = traceId.padStart(32, '0');
  return spanSets.flatMap(({ spans }) => spans.map(({ spanID: spanId }) => keyOf({ traceId: id, spanId })));
}
