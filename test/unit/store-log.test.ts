// The write-ahead log: what was acknowledged is read back, whatever happens to the files.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import t, { type Test } from 'tap';
import { TempoError } from '../../src/lib/errors.ts';
import { type LogFiles, realFiles } from '../../src/store/log/files.ts';
import { FRAME_HEADER_BYTES, frameBytes, FrameType, type RangeRecord } from '../../src/store/log/frame.ts';
import { holderText, lockFolder } from '../../src/store/log/lock.ts';
import { openLog, type OpenedLog, type OpenLogOptions } from '../../src/store/log/open.ts';
import { coveredRanges, isCovered } from '../../src/store/log/recover.ts';
import { RingReader, RingWord } from '../../src/store/log/ring.ts';
import { listSegments, type LogFormat, readSegment, segmentName } from '../../src/store/log/segment.ts';
import { createLogger, type Logger, silentLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'store-log-'));
t.teardown(() => fs.rmSync(scratch, { recursive: true, force: true }));
// Waiting for a builder does not keep the process alive by itself.
const alive = setInterval(() => {}, 1000);
t.teardown(() => clearInterval(alive));

let folders = 0;
const aFolder = (): string => path.join(scratch, `data-${folders++}`);

/** A body of `bytes` bytes that no other seed has. */
function aBody(seed: number, bytes: number): Uint8Array {
  const body = new Uint8Array(bytes);
  for (let i = 0; i < bytes; i++) body[i] = seed * 31 + i * 7;
  return body;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

type Harness = OpenedLog & {
  readonly metrics: Metrics;
  readonly handedOver: Map<number, SharedArrayBuffer>;
  readonly reader: RingReader;
  readonly lines: string[];
};

async function open(data: string, over: Partial<OpenLogOptions> = {}): Promise<Harness> {
  const metrics = new Metrics();
  const handedOver = new Map<number, SharedArrayBuffer>();
  const lines: string[] = [];
  const logger: Logger = createLogger({ level: 'info', format: 'logfmt', write: (line) => lines.push(line) });
  const opened = await openLog({
    path: data,
    sync: 'always',
    syncIntervalMs: 100,
    ringBytes: 64 * 1024,
    ringWaitMs: 10_000,
    segmentBytes: 1024 * 1024,
    format: 1,
    logger,
    metrics,
    nowMs: Date.now,
    handOver: (sequence, image) => handedOver.set(sequence, image),
    isComplete: () => Promise.resolve(false),
    ...over,
  });
  return { ...opened, metrics, handedOver, lines, reader: new RingReader(opened.memory, 0) };
}

async function metric(metrics: Metrics, name: string): Promise<number> {
  const found = new RegExp(`^${name} (.*)$`, 'm').exec(await metrics.text());
  return Number(found?.[1]);
}

interface Seen {
  readonly sequence: number;
  readonly tenant: string;
  readonly body: string;
}

/** What a builder would take next from the ring. */
function takeOne({ reader, handedOver }: Harness): Seen | undefined {
  const frame = reader.next();
  if (frame === undefined) return undefined;
  const { header, tenantOffset, payloadOffset } = frame;
  const tenant = Buffer.from(reader.bytes.subarray(tenantOffset, payloadOffset)).toString();
  const { sequence } = header;
  let body = reader.bytes.slice(payloadOffset, payloadOffset + header.payloadLength);
  if (header.type === FrameType.handedOver) {
    const image = new Uint8Array(handedOver.get(sequence)!);
    body = image.slice(
      40 + header.tenantLength,
      40 + header.tenantLength + new DataView(image.buffer).getUint32(12, true),
    );
  }
  reader.consume(sequence);
  return { sequence, tenant, body: hex(body) };
}

function takeAll(harness: Harness): Seen[] {
  const seen: Seen[] = [];
  for (let one = takeOne(harness); one !== undefined; one = takeOne(harness)) seen.push(one);
  return seen;
}

/** Push frames in the segments of a folder. */
function pushesOnDisk(data: string): Seen[] {
  const seen: Seen[] = [];
  for (const { path: file } of listSegments(`${data}/log`)) {
    readSegment(file, 'all', ({ header, tenant, payload }) => {
      if (header.type === FrameType.push)
        seen.push({ sequence: header.sequence, tenant, body: hex(payload) });
      return undefined;
    });
  }
  return seen;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (err) {
    if (err instanceof TempoError) return err.code;
    throw err;
  }
  return 'no error';
}

const record = (tenant: string, fromSequence: number, toSequence: number): RangeRecord => ({
  tenant,
  blockId: `block-${tenant}-${toSequence}`,
  fromSequence,
  toSequence,
});

t.test('frames come out of the ring and off the disk as they went in, over many laps', async (t) => {
  const data = aFolder();
  const harness = await open(data);
  const want: Seen[] = [];
  const seen: Seen[] = [];
  let acknowledged = 0;
  let random = 1;
  for (let i = 0; i < 400; i++) {
    random = (random * 48271) % 0x7fffffff;
    // Above a quarter of the ring: travels apart.
    const body = aBody(i, i % 50 === 49 ? 20_000 : random % 3000);
    const tenant = i % 3 === 0 ? 'one' : 'zwei-ü';
    want.push({ sequence: i + 1, tenant, body: hex(body) });
    const pushed = harness.log.push(tenant, body, 1).then(() => acknowledged++);
    if (i % 7 === 0) {
      await pushed;
      seen.push(...takeAll(harness));
    }
  }
  await harness.log.whenIdle();
  seen.push(...takeAll(harness));
  t.strictSame(seen, want);
  t.equal(acknowledged, want.length);
  t.ok(harness.ring.appended > 5 * harness.ring.sizeBytes, 'the ring was used several times over');
  t.ok(harness.handedOver.size === 8);
  t.strictSame(pushesOnDisk(data), want);
  await harness.close();
});

t.test('a group whose frames end exactly with the ring goes on at its start', async (t) => {
  const data = aFolder();
  const harness = await open(data);
  const { log, ring } = harness;
  const bodyBytes = 1024 - FRAME_HEADER_BYTES - 'one '.length;
  const frames = ring.sizeBytes / frameBytes('one'.length, bodyBytes);
  t.ok(Number.isInteger(frames));
  const seen: Seen[] = [];
  const push = async (from: number, to: number): Promise<void> => {
    const seeds = Array.from({ length: to - from }, (_, i) => from + i);
    await Promise.all(seeds.map((seed) => log.push('one', aBody(seed, bodyBytes), 1)));
    seen.push(...takeAll(harness));
  };
  await push(0, frames - 3);
  await push(frames - 3, frames + 5);
  await push(frames + 5, 2 * frames);
  await push(2 * frames, 2 * frames + 2);
  t.equal(seen.length, 2 * frames + 2);
  t.strictSame(pushesOnDisk(data), seen);
  await harness.close();
});

t.test('whatever the lengths of frames, the files hold what went through the ring', async (t) => {
  const data = aFolder();
  const harness = await open(data, { ringBytes: 4096, sync: 'never' });
  const seen: Seen[] = [];
  let random = Number(process.env['FUZZ_SEED'] ?? 1 + Math.floor(Math.random() * 0x7ffffffe));
  t.comment(`FUZZ_SEED=${random}`);
  const next = (below: number): number => (random = (random * 48271) % 0x7fffffff) % below;
  let sent = 0;
  while (sent < 1000) {
    // Few lengths, so that many frames end with the ring; some travel apart.
    const bodies = Array.from({ length: 1 + next(5) }, () => aBody(sent++, 128 * (1 + next(9)) - 44));
    const pushed = Promise.all(bodies.map((body) => harness.log.push('one', body, 1)));
    let isDone = false;
    void pushed.finally(() => (isDone = true));
    while (!isDone) {
      seen.push(...takeAll(harness));
      await turn();
    }
    seen.push(...takeAll(harness));
  }
  t.equal(seen.length, sent);
  t.strictSame(pushesOnDisk(data), seen);
  await harness.close();
});

t.test('a push is not acknowledged before its bytes are synced', async (t) => {
  const data = aFolder();
  const gate = Promise.withResolvers<void>();
  let hold = false;
  const files: LogFiles = {
    ...realFiles,
    canWriteThrough: false,
    datasync: async (fd) => {
      if (hold) await gate.promise;
      await realFiles.datasync(fd);
    },
  };
  const harness = await open(data, { files });
  await harness.log.push('one', aBody(1, 10), 1);
  hold = true;
  let isAcknowledged = false;
  const pushed = harness.log.push('one', aBody(2, 10), 1).then(() => (isAcknowledged = true));
  while (pushesOnDisk(data).length < 2) await new Promise(setImmediate);
  t.notOk(isAcknowledged);
  t.equal(takeAll(harness).length, 1, 'the builder does not see it either');
  gate.resolve();
  await pushed;
  t.equal(takeAll(harness).length, 1);
  await harness.close();
});

t.test('pushes that come while a group is written go together', async (t) => {
  const data = aFolder();
  const harness = await open(data);
  await Promise.all(Array.from({ length: 50 }, (_, i) => harness.log.push('one', aBody(i, 100), 1)));
  t.equal(await metric(harness.metrics, 'tempo_log_group_frames_count'), 1);
  t.equal(await metric(harness.metrics, 'tempo_log_group_frames_sum'), 50);
  await harness.close();
});

t.test('a full ring makes pushes wait, and refuses them when nothing moves', async (t) => {
  let now = 1000;
  const harness = await open(aFolder(), { nowMs: () => now, ringWaitMs: 60_000 });
  const size = 15_000;
  for (let i = 0; i < 4; i++) await harness.log.push('one', aBody(i, size), 1);
  let isAcknowledged = false;
  const waiting = harness.log.push('one', aBody(4, size), 1).then(() => (isAcknowledged = true));
  await new Promise(setImmediate);
  t.notOk(isAcknowledged);
  takeOne(harness);
  await waiting;
  t.ok(isAcknowledged, 'space that is given back lets it in');
  now = 2000;
  const stuck = harness.log.push('one', aBody(5, size), 1);
  const code = codeOf(stuck);
  now += 61_000;
  takeOneSmall(harness);
  t.equal(await code, 'unavailable');
  takeAll(harness);
  await harness.log.push('one', aBody(6, size), 1);
  await harness.close();
});

/** Moves the reader without giving enough space: the wait is looked at again. */
function takeOneSmall(harness: Harness): void {
  Atomics.notify(new Int32Array(harness.memory.state), RingWord.consumed);
}

t.test('a log that is cut at any byte of its last frames gives back all that is whole', async (t) => {
  const data = aFolder();
  const first = await open(data);
  const bodies = [aBody(1, 100), aBody(2, 33), aBody(3, 64)];
  const ends: number[] = [];
  for (const body of bodies) {
    await first.log.push('one', body, 1);
    ends.push(first.segments.written!.sizeBytes);
  }
  const file = first.segments.written!.path;
  const image = fs.readFileSync(file);
  await first.close();
  const want = bodies.map((body) => hex(body));
  let wrong = 0;
  for (let length = ends[0]!; length <= image.length; length++) {
    fs.writeFileSync(file, image.subarray(0, length));
    const again = await open(data);
    const whole = ends.filter((end) => end <= length).length;
    const isTorn = !ends.includes(length);
    const found = pushesOnDisk(data).map(({ body }) => body);
    const told = await metric(again.metrics, 'tempo_log_torn_tails_total');
    const warned = again.lines.some((line) => line.includes('level=warn'));
    await again.close();
    const second = await open(data);
    const toldAgain = await metric(second.metrics, 'tempo_log_torn_tails_total');
    await second.close();
    const isRight =
      found.join() === want.slice(0, whole).join() &&
      told === (isTorn ? 1 : 0) &&
      warned === isTorn &&
      toldAgain === 0 &&
      again.replay.untilSequence === whole;
    if (!isRight) {
      wrong++;
      t.fail(`cut at ${length}`, { found, whole, told, toldAgain });
    }
  }
  t.equal(wrong, 0, `${image.length - ends[0]! + 1} cuts`);
});

t.test('a flipped byte costs its frame only, and is told', async (t) => {
  const data = aFolder();
  const first = await open(data);
  const bodies = [aBody(1, 100), aBody(2, 50), aBody(3, 100)];
  const ends: number[] = [];
  for (const body of bodies) {
    await first.log.push('one', body, 1);
    ends.push(first.segments.written!.sizeBytes);
  }
  const file = first.segments.written!.path;
  await first.close();
  const image = fs.readFileSync(file);
  const padding = ends[1]! - ends[0]! - 40 - 3 - 50;
  const wrong: number[] = [];
  for (let at = ends[0]!; at < ends[1]! - padding; at++) {
    const damaged = Buffer.from(image);
    damaged[at] = damaged[at]! ^ 0x10;
    fs.writeFileSync(file, damaged);
    const again = await open(data);
    const found = pushesOnDisk(data).map(({ sequence }) => sequence);
    const told = await metric(again.metrics, 'tempo_log_corrupt_frames_total');
    const line = again.lines.find((text) => text.includes('level=error')) ?? '';
    if (found.join() !== '1,3' || told !== 1 || !line.includes(`offset=${ends[0]}`)) wrong.push(at);
    await again.close();
  }
  t.strictSame(wrong, []);
});

t.test('formats of the log', async (t) => {
  const setCrc = (image: Buffer): void => {
    image.writeUInt32LE(crc32(image.subarray(0, 12)), 12);
  };
  /** Of the first frame, which begins at 16. */
  const setHeaderCrc = (image: Buffer): void => {
    image.writeUInt32LE(crc32(image.subarray(24, 56)), 20);
  };
  interface Case {
    readonly name: string;
    readonly format: LogFormat;
    readonly change?: (image: Buffer) => unknown;
    readonly want: string;
  }
  const refused = 'unimplemented';
  const cases: readonly Case[] = [
    { name: 'the first one is read', format: 1, want: 'no error' },
    { name: 'the second one is read', format: 2, want: 'no error' },
    {
      name: 'a later one with its checksum is refused',
      format: 2,
      change: (image) => {
        image[8] = 3;
        setCrc(image);
      },
      want: refused,
    },
    {
      name: 'flags of a head are refused',
      format: 2,
      change: (image) => {
        image[10] = 1;
        setCrc(image);
      },
      want: refused,
    },
    {
      name: 'an unknown type of frame is refused',
      format: 1,
      change: (image) => {
        image[16 + 38] = 9;
        setHeaderCrc(image);
      },
      want: refused,
    },
    {
      name: 'an unknown flag of a frame is refused',
      format: 1,
      change: (image) => {
        image[16 + 39] = 1;
        setHeaderCrc(image);
      },
      want: refused,
    },
    ...[0, 2, 3, 129].map((byte) => ({
      name: `damage to the format hides no frames: ${byte}`,
      format: 1 as const,
      change: (image: Buffer) => (image[8] = byte),
      want: 'no error',
    })),
    {
      name: 'damage to the name hides no frames',
      format: 2,
      change: (image) => (image[0] = 0),
      want: 'no error',
    },
  ];
  for (const { name, format, change, want } of cases) {
    const data = aFolder();
    const first = await open(data, { format });
    await first.log.push('one', aBody(1, 100), 1);
    const file = first.segments.written!.path;
    await first.close();
    const image = fs.readFileSync(file);
    t.equal(image[8], format);
    const begun = Buffer.from(image.subarray(0, 50));
    change?.(image);
    fs.writeFileSync(file, image);
    // The one behind it was only begun: nothing is tidied when one is refused.
    const torn = `${data}/log/${segmentName(9)}`;
    fs.writeFileSync(torn, begun);
    const opened = open(data).then((again) => again.close());
    if (want === refused)
      await t.rejects(opened, { code: want, message: /start the version that wrote it/ }, name);
    else await opened;
    t.strictSame(fs.readFileSync(file), image, `${name}: the file is as it was`);
    t.equal(fs.existsSync(torn), want === refused, name);
    if (want === 'no error') t.equal(pushesOnDisk(data).length, 1, name);
  }
});

t.test('a segment that was only begun is removed', async (t) => {
  const data = aFolder();
  await (await open(data)).close();
  fs.writeFileSync(`${data}/log/${segmentName(7)}`, 'TEMPO');
  const again = await open(data);
  t.strictSame(listSegments(`${data}/log`), []);
  await again.close();
});

/** Files whose writes fail while `fault` is set, after half of the bytes. */
function failingFiles(): LogFiles & {
  fault: { readonly on: 'write' | 'sync'; readonly code: string } | undefined;
} {
  const fail = (code: string): Error => Object.assign(new Error(`${code}: injected`), { code });
  const files = {
    ...realFiles,
    canWriteThrough: false,
    fault: undefined as { readonly on: 'write' | 'sync'; readonly code: string } | undefined,
    write: async (fd: number, parts: Uint8Array[], offset: number): Promise<void> => {
      if (files.fault?.on !== 'write') return realFiles.write(fd, parts, offset);
      const first = parts[0]!;
      await realFiles.write(fd, [first.subarray(0, first.length >> 1)], offset);
      throw fail(files.fault.code);
    },
    datasync: (fd: number): Promise<void> =>
      files.fault?.on === 'sync' ? Promise.reject(fail(files.fault.code)) : realFiles.datasync(fd),
  };
  return files;
}

t.test(
  'a disk that is full or failing refuses, loses nothing that was acknowledged, and recovers',
  async (t) => {
    const cases = [
      { on: 'write', code: 'ENOSPC', segments: 1 },
      { on: 'write', code: 'EIO', segments: 2 },
      { on: 'sync', code: 'EIO', segments: 2 },
      { on: 'write', code: 'EROFS', segments: 2 },
    ] as const;
    for (const { on, code, segments } of cases) {
      const data = aFolder();
      const files = failingFiles();
      const harness = await open(data, { files });
      const acknowledged: string[] = [];
      const push = async (seed: number): Promise<void> => {
        const body = aBody(seed, 10_000);
        await harness.log.push('one', body, 1);
        acknowledged.push(hex(body));
      };
      const seen: string[] = [];
      const take = (): void => void seen.push(...takeAll(harness).map(({ body }) => body));
      for (let i = 0; i < 4; i++) await push(i);
      take();
      files.fault = { on, code };
      // Goes over the end of the ring.
      const refused = await Promise.all([4, 5, 6].map((seed) => codeOf(push(seed))));
      t.strictSame(refused, ['unavailable', 'unavailable', 'unavailable'], `${on} ${code}`);
      t.equal(await metric(harness.metrics, 'tempo_log_write_failures_total'), 1);
      files.fault = undefined;
      take();
      for (let i = 7; i < 20; i++) {
        await push(i);
        take();
      }
      t.strictSame(seen, acknowledged, 'the builder sees what was acknowledged');
      await harness.close();
      t.equal(listSegments(`${data}/log`).length, segments);
      const again = await open(data);
      const onDisk = pushesOnDisk(data).map(({ body }) => body);
      const missing = acknowledged.filter((body) => !onDisk.includes(body));
      t.strictSame(missing, []);
      if (on === 'write') t.strictSame(onDisk, acknowledged, 'what was refused is not there');
      t.equal(await metric(again.metrics, 'tempo_log_torn_tails_total'), 0);
      await again.close();
    }
  },
);

t.test(
  'a segment is deleted when all frames of all tenants in it are covered, the oldest first',
  async (t) => {
    const data = aFolder();
    const harness = await open(data, { segmentBytes: 1000 });
    const { log, segments } = harness;
    const names = (): string[] => listSegments(`${data}/log`).map(({ number }) => String(number));
    // Two frames fill a segment: 1 = a1 b2, 2 = a3 b4, 3 = a5 b6.
    for (let i = 1; i <= 6; i++) await log.push(i % 2 === 1 ? 'a' : 'b', aBody(i, 500), 1);
    t.strictSame(names(), ['1', '2', '3']);
    segments.cover('b', 4);
    await log.deleteCovered();
    t.strictSame(names(), ['1', '2', '3'], 'a1 is needed');
    t.strictSame(segments.holders(), ['a']);
    await log.record(FrameType.completed, record('a', 0, 3));
    segments.cover('a', 3);
    await log.deleteCovered();
    t.strictSame(names(), ['3', '4']);
    t.equal(segments.firstSequence, 5);
    await harness.close();
    const again = await open(data, { segmentBytes: 1000 });
    t.strictSame(
      pushesOnDisk(data).map(({ sequence }) => sequence),
      [5, 6],
    );
    t.equal(again.log.lastSequence, 7, 'sequence numbers go on');
    t.equal(again.segments.firstSequence, 5);
    again.segments.cover('a', 5);
    again.segments.cover('b', 6);
    await again.log.push('a', aBody(7, 500), 1);
    await again.log.deleteCovered();
    t.strictSame(names(), ['5']);
    await again.close();
  },
);

t.test('a segment that begins while another is being deleted stays', async (t) => {
  const data = aFolder();
  const held = { create: Promise.withResolvers<void>(), remove: Promise.withResolvers<void>() };
  let isHeld = false;
  const deletion = Promise.withResolvers<void>();
  const removals: string[] = [];
  const files: LogFiles = {
    ...realFiles,
    canWriteThrough: false,
    create: async (file) => {
      if (isHeld) await held.create.promise;
      return realFiles.create(file, false);
    },
    remove: async (file) => {
      removals.push(path.basename(file));
      if (isHeld) await held.remove.promise;
      await realFiles.remove(file);
    },
    write: async (fd, parts, offset) => {
      // The first frames of the segment come when the deletion has gone as far as it can.
      if (isHeld && offset > 0) {
        held.remove.resolve();
        await deletion.promise;
      }
      await realFiles.write(fd, parts, offset);
    },
  };
  const harness = await open(data, { segmentBytes: 1000, files });
  const { log, segments } = harness;
  await log.push('a', aBody(1, 1000), 1);
  segments.cover('a', 1);
  isHeld = true;
  const pushed = log.push('a', aBody(2, 500), 1);
  // Between the two segments none is being written.
  while (segments.written !== undefined) await turn();
  void log.deleteCovered().then(deletion.resolve);
  while (removals.length === 0) await turn();
  held.create.resolve();
  await pushed;
  t.strictSame(removals, [segmentName(1)]);
  t.strictSame(
    pushesOnDisk(data).map(({ sequence }) => sequence),
    [2],
    'what was acknowledged is on disk',
  );
  await harness.close();
});

t.test('records tell after a restart what is in blocks', async (t) => {
  const data = aFolder();
  const first = await open(data);
  for (let i = 1; i <= 6; i++) await first.log.push(i % 2 === 1 ? 'a' : 'b', aBody(i, 10), 1);
  await first.log.record(FrameType.cut, record('a', 0, 3));
  await first.log.record(FrameType.completed, record('a', 0, 3));
  await first.log.record(FrameType.cut, record('b', 0, 2));
  await first.log.record(FrameType.cut, record('b', 2, 6));
  await first.close();
  const again = await open(data, { isComplete: (cut) => Promise.resolve(cut.toSequence === 2) });
  t.strictSame(
    [...again.replay.covered],
    [
      ['a', [[0, 3]]],
      ['b', [[0, 2]]],
    ],
  );
  t.strictSame(
    again.unrecorded.map(({ blockId }) => blockId),
    ['block-b-2'],
  );
  t.equal(again.replay.paths.length, 1);
  await again.close();
});

/** The pid of a process that has ended and is listed until its parent ends. */
async function aZombie(t: Test): Promise<number> {
  const parent = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  t.teardown(() => parent.kill('SIGKILL'));
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  const pid = Number(line.toString());
  // a shell would ask
  while (fs.readFileSync(`/proc/${parent.pid}/comm`, 'utf8') !== 'sleep\n') await turn();
  process.kill(pid, 'SIGKILL');
  while (!fs.readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')) await turn();
  return pid;
}

t.test('the lock of a data folder', async (t) => {
  const folder = aFolder();
  fs.mkdirSync(folder);
  const lock = await lockFolder(folder);
  t.equal(await codeOf(lockFolder(folder)), 'unavailable', 'twice in one process');
  lock.release();
  t.strictSame(fs.readdirSync(folder), []);
  const mine = fs.readlinkSync('/proc/self/ns/pid');
  const ticksOf = (pid: number): string =>
    fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')[19]!;
  const parent = process.ppid;
  const unreaped = await aZombie(t);
  const cases = [
    {
      name: 'its holder was killed, and its parent has not asked',
      holder: { pid: unreaped, startTicks: ticksOf(unreaped), pidNamespace: mine },
      want: 'no error',
    },
    {
      name: 'its holder lives',
      holder: { pid: parent, startTicks: ticksOf(parent), pidNamespace: mine },
      want: 'unavailable',
    },
    {
      name: 'its pid is used again',
      holder: { pid: parent, startTicks: '1', pidNamespace: mine },
      want: 'no error',
    },
    {
      name: 'its holder is gone',
      holder: { pid: 2 ** 22 + 1, startTicks: '1', pidNamespace: mine },
      want: 'no error',
    },
    {
      name: 'own pid in an earlier life',
      holder: { pid: process.pid, startTicks: '1', pidNamespace: mine },
      want: 'no error',
    },
    {
      name: 'a dead container',
      holder: { pid: 1, startTicks: '1', pidNamespace: 'pid:[1]' },
      want: 'no error',
    },
    { name: 'nonsense', holder: undefined, want: 'no error' },
  ];
  for (const { name, holder, want } of cases) {
    fs.symlinkSync(holder === undefined ? 'nonsense' : holderText(holder), `${folder}/lock`);
    fs.lutimesSync(`${folder}/lock`, 1, 1);
    const got = await codeOf(lockFolder(folder).then((taken) => taken.release()));
    t.equal(got, want, name);
    fs.rmSync(`${folder}/lock`, { force: true });
  }
  t.strictSame(fs.readdirSync(folder), [], 'nothing is left behind');
});

t.test('a folder that cannot be written is a clear error', async (t) => {
  const file = path.join(scratch, 'a-file');
  fs.writeFileSync(file, '');
  await t.rejects(open(`${file}/wal`), { code: 'unavailable', message: /a-file\/wal cannot be written/ });
});

t.test('where the system can, what is written lasts without a sync', async (t) => {
  const O_DSYNC = 0o10000;
  const files = { ...realFiles, canWriteThrough: process.platform === 'linux' };
  for (const sync of ['always', 'never'] as const) {
    const opened: boolean[] = [];
    let syncs = 0;
    const data = aFolder();
    const harness = await open(data, {
      sync,
      files: {
        ...files,
        create: async (file, writesThrough) => {
          opened.push(writesThrough);
          const fd = await realFiles.create(file, writesThrough);
          if (process.platform !== 'linux') return fd;
          const flags = /^flags:\s+(\d+)/m.exec(fs.readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))![1]!;
          t.equal((Number.parseInt(flags, 8) & O_DSYNC) !== 0, writesThrough, sync);
          return fd;
        },
        datasync: (fd) => {
          syncs++;
          return realFiles.datasync(fd);
        },
      },
    });
    await harness.log.push('one', aBody(1, 10), 1);
    t.strictSame(opened, [sync === 'always' && files.canWriteThrough]);
    t.equal(syncs, files.canWriteThrough || sync === 'never' ? 1 : 2, 'that of the head');
    t.equal(pushesOnDisk(data).length, 1);
    await harness.close();
  }
});

t.test('sync: never and interval acknowledge what is written', async (t) => {
  for (const sync of ['never', 'interval'] as const) {
    let syncs = 0;
    const files: LogFiles = {
      ...realFiles,
      canWriteThrough: false,
      datasync: (fd) => {
        syncs++;
        return realFiles.datasync(fd);
      },
    };
    const data = aFolder();
    const harness = await open(data, { sync, files, logger: silentLogger });
    for (let i = 0; i < 5; i++) await harness.log.push('one', aBody(i, 10), 1);
    t.ok(syncs < 5, `${sync}: not synced each time`);
    t.equal(pushesOnDisk(data).length, 5);
    await harness.close();
  }
});

t.test(
  'a range of frames begins behind its first number, which may belong to a head without a block',
  (t) => {
    const record = { tenant: 'one', blockId: 'b', fromSequence: 5, toSequence: 10 };
    const ranges = coveredRanges([{ ...record, fromSequence: 20, toSequence: 21 }, record]);
    const cases = [
      { sequence: 5, want: false },
      { sequence: 6, want: true },
      { sequence: 10, want: true },
      { sequence: 11, want: false },
      { sequence: 20, want: false },
      { sequence: 21, want: true },
    ];
    for (const { sequence, want } of cases) t.equal(isCovered(ranges, 'one', sequence), want, `${sequence}`);
    t.notOk(isCovered(ranges, 'two', 6));
    t.end();
  },
);
