// The write-ahead log under random work: pushes of all lengths through a small ring, blocks that become
// complete, disks that fail for a while, and kills at any moment. What was acknowledged and is in no block is
// read again, once; what is in a block is not.
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { setImmediate as turn, setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { TempoError } from '../../src/lib/errors.ts';
import { type LogFiles, realFiles } from '../../src/store/log/files.ts';
import { FRAME_HEADER_BYTES, FrameType } from '../../src/store/log/frame.ts';
import { openLog, type OpenedLog } from '../../src/store/log/open.ts';
import { isCovered } from '../../src/store/log/recover.ts';
import { RingReader } from '../../src/store/log/ring.ts';
import { readSegment } from '../../src/store/log/segment.ts';
import { silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';

t.setTimeout(240_000);

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'store-log-random-'));
t.teardown(() => fs.rmSync(scratch, { recursive: true, force: true }));
const alive = setInterval(() => {}, 1000);
t.teardown(() => clearInterval(alive));

const TENANTS = ['one', 'two', 'tenant-3'];
const ROUNDS = Number(process.env['LOG_ROUNDS'] ?? 30);
const STEPS = 60;

type Random = (below: number) => number;

function randomOf(seed: number): Random {
  let state = seed;
  return (below) => (state = (state * 48271) % 0x7fffffff) % below;
}

interface Frame {
  readonly id: number;
  readonly tenant: string;
  readonly sequence: number;
}

/** One life of a process over the folder. */
interface Life {
  readonly data: string;
  readonly opened: OpenedLog;
  readonly reader: RingReader;
  readonly images: Map<number, SharedArrayBuffer>;
  /** Frames that are in heads, by tenant, in order. */
  readonly heads: Map<string, Frame[]>;
  readonly disk: Disk;
  /** It was killed: what it goes on to do counts for nothing. */
  isOver: boolean;
}

/** What holds whatever happens. */
class Model {
  readonly acknowledged = new Set<number>();
  readonly inBlocks = new Set<number>();
  /** Blocks are complete, whether the log knows is not certain yet. */
  readonly maybe = new Set<number>();
  nextId = 1;
}

const idOf = (payload: Uint8Array): number =>
  new DataView(payload.buffer, payload.byteOffset, payload.byteLength).getUint32(0, true);

function aBody(id: number, bytes: number): Uint8Array {
  const body = new Uint8Array(bytes).fill(id);
  new DataView(body.buffer).setUint32(0, id, true);
  return body;
}

interface Disk {
  fault: { readonly on: 'write' | 'sync'; readonly code: string } | undefined;
}

function failing(disk: Disk): LogFiles {
  const fault = (on: 'write' | 'sync'): Error | undefined => {
    const now = disk.fault;
    return now?.on === on ? Object.assign(new Error(`${now.code}: injected`), { code: now.code }) : undefined;
  };
  return {
    ...realFiles,
    canWriteThrough: false,
    write: async (fd, parts, offset) => {
      const err = fault('write');
      if (err === undefined) return realFiles.write(fd, parts, offset);
      await realFiles.write(fd, [parts[0]!.subarray(0, parts[0]!.length >> 1)], offset);
      throw err;
    },
    create: async (file) => {
      await pause(Math.random() * 4);
      return realFiles.create(file, false);
    },
    remove: async (file) => {
      await pause(Math.random() * 8);
      await realFiles.remove(file);
    },
    datasync: async (fd) => {
      const err = fault('sync');
      if (err !== undefined) throw err;
      await realFiles.datasync(fd);
    },
  };
}

async function begin(data: string, random: Random): Promise<Life> {
  const images = new Map<number, SharedArrayBuffer>();
  const disk: Disk = { fault: undefined };
  const opened = await openLog({
    path: data,
    sync: random(4) === 0 ? 'always' : 'never',
    syncIntervalMs: 100,
    ringBytes: 4096 * (1 + random(3)),
    ringWaitMs: 60_000,
    segmentBytes: 2000 + random(20_000),
    format: 1,
    logger: silentLogger,
    metrics: new Metrics(),
    nowMs: Date.now,
    files: failing(disk),
    handOver: (sequence, image) => images.set(sequence, image),
    isComplete: () => Promise.resolve(false),
  });
  return {
    data,
    opened,
    reader: new RingReader(opened.memory, 0),
    images,
    heads: new Map(),
    disk,
    isOver: false,
  };
}

/** What a builder takes in at the start. */
function replayed({ opened }: Life): Frame[] {
  const frames: Frame[] = [];
  const { paths, covered } = opened.replay;
  for (const file of paths) {
    readSegment(file, 'all', ({ header: { type, sequence }, tenant, payload }) => {
      if (type === FrameType.push && !isCovered(covered, tenant, sequence)) {
        frames.push({ id: idOf(payload), tenant, sequence });
      }
      return undefined;
    });
  }
  return frames;
}

function intoHead({ heads }: Life, frame: Frame): void {
  const head = heads.get(frame.tenant);
  if (head === undefined) heads.set(frame.tenant, [frame]);
  else head.push(frame);
}

/** As a builder takes frames from the ring, up to `most`. */
function take(life: Life, most: number): void {
  const { reader, images } = life;
  for (let i = 0; i < most; i++) {
    const frame = reader.next();
    if (frame === undefined) return;
    const { header, tenantOffset, payloadOffset } = frame;
    const { sequence, type, payloadLength } = header;
    const tenant = Buffer.from(reader.bytes.subarray(tenantOffset, payloadOffset)).toString();
    const payload =
      type === FrameType.handedOver
        ? new Uint8Array(images.get(sequence)!, FRAME_HEADER_BYTES + header.tenantLength)
        : reader.bytes.slice(payloadOffset, payloadOffset + payloadLength);
    intoHead(life, { id: idOf(payload), tenant, sequence });
    reader.consume(sequence);
  }
}

function push(life: Life, model: Model, random: Random): void {
  const tenant = TENANTS[random(TENANTS.length)]!;
  const id = model.nextId++;
  // Few lengths, so that many frames end with the ring; some are too large for it.
  const bytes = random(12) === 0 ? 5000 : 128 * (1 + random(7)) - FRAME_HEADER_BYTES - 4;
  void life.opened.log.push(tenant, aBody(id, bytes), 1).then(
    () => {
      if (!life.isOver) model.acknowledged.add(id);
    },
    (err: unknown) => t.ok(err instanceof TempoError && err.code === 'unavailable', String(err)),
  );
}

/** The head of a tenant becomes a block: its record is durable before the log may forget. */
async function complete(life: Life, model: Model, tenant: string): Promise<void> {
  const frames = life.heads.get(tenant);
  if (frames === undefined) return;
  life.heads.delete(tenant);
  const { log, segments } = life.opened;
  const toSequence = frames.at(-1)!.sequence;
  const range = {
    tenant,
    blockId: `${tenant}-${toSequence}`,
    fromSequence: frames[0]!.sequence - 1,
    toSequence,
  };
  for (const { id } of frames) model.maybe.add(id);
  const tried = await log.record(FrameType.completed, range).then(
    () => true,
    () => false,
  );
  if (life.isOver) return;
  for (const { id } of frames) model.maybe.delete(id);
  // Without its record the block would be made again.
  if (!tried) {
    life.heads.set(tenant, [...frames, ...(life.heads.get(tenant) ?? [])]);
    return;
  }
  for (const { id } of frames) model.inBlocks.add(id);
  segments.cover(tenant, toSequence);
  await log.deleteCovered();
}

async function step(life: Life, model: Model, random: Random, work: Set<Promise<void>>): Promise<void> {
  const choice = random(20);
  if (choice < 11) for (let i = 0; i <= random(6); i++) push(life, model, random);
  else if (choice < 16) take(life, 1 + random(12));
  else if (choice < 18 && work.size === 0) {
    const some = random(2) === 0 ? TENANTS : [TENANTS[random(TENANTS.length)]!];
    const done = Promise.all(some.map((tenant) => complete(life, model, tenant)))
      .then(() => {})
      .finally(() => work.delete(done));
    work.add(done);
  } else if (choice === 19) {
    const code = ['ENOSPC', 'EIO', 'EROFS'][random(3)]!;
    life.disk.fault = random(3) > 0 ? undefined : { on: random(2) === 0 ? 'write' : 'sync', code };
  }
  if (random(2) === 0) await turn();
  if (random(8) === 0) await pause(random(4));
}

/** The folder as it is at this moment; files may go while it is copied. */
function killed({ data }: Life, to: string): string {
  fs.mkdirSync(`${to}/log`, { recursive: true });
  for (const name of fs.readdirSync(`${data}/log`).toSorted()) {
    try {
      fs.copyFileSync(`${data}/log/${name}`, `${to}/log/${name}`);
    } catch (err) {
      if ((err as NodeJS.ErrnoException).code !== 'ENOENT') throw err;
    }
  }
  return to;
}

t.test('a log under random work keeps what was acknowledged', async (t) => {
  const seed = Number(process.env['FUZZ_SEED'] ?? 1 + Math.floor(Math.random() * 0x7ffffffe));
  t.comment(`FUZZ_SEED=${seed}`);
  const random = randomOf(seed);
  const model = new Model();
  let life = await begin(path.join(scratch, '0'), random);
  for (let round = 1; round <= ROUNDS; round++) {
    const work = new Set<Promise<void>>();
    for (let i = 0; i < STEPS; i++) await step(life, model, random, work);
    const copy = killed(life, path.join(scratch, String(round)));
    life.isOver = true;
    const next = await begin(copy, random);
    const frames = replayed(next);
    const found = new Set(frames.map(({ id }) => id));
    for (const id of model.maybe) if (!found.has(id)) model.inBlocks.add(id);
    model.maybe.clear();
    const lost = [...model.acknowledged].filter((id) => !found.has(id) && !model.inBlocks.has(id));
    const again = [...found].filter((id) => model.inBlocks.has(id));
    const wrong = { lost, again, twice: frames.length - found.size };
    t.strictSame(wrong, { lost: [], again: [], twice: 0 }, `round ${round}: ${found.size} frames`);
    life.disk.fault = undefined;
    const old = life;
    const closing = (async () => {
      await Promise.all(work);
      await old.opened.close();
    })();
    while (await Promise.race([closing.then(() => false), turn(true)])) take(old, Infinity);
    fs.rmSync(old.data, { recursive: true });
    life = next;
    for (const frame of frames) intoHead(life, frame);
  }
  t.ok(model.acknowledged.size > ROUNDS * 5, `${model.acknowledged.size} acknowledged`);
  await life.opened.close();
});
