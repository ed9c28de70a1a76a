// A distributor in front of a ring: which ingester is sent which traces, what counts as a quorum, and what
// single traces are refused for.
import { createHash } from 'node:crypto';
import t from 'tap';
import {
  DISCARD_REASONS,
  pushResponse,
  PushReason,
  readPushRequest,
} from '../../src/contracts/push-bytes.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { fnv1of32 } from '../../src/lib/hash.ts';
import { scanRequest } from '../../src/model/otlp/scan.ts';
import { RingPusher, type RingPusherOptions } from '../../src/modules/distributor/ring-pusher.ts';
import { instanceOf, type InstanceState, sortedTokens } from '../../src/ring/instance.ts';
import { RingSnapshot, WRITE } from '../../src/ring/ring.ts';
import { BufferPool } from '../../src/rpc/buffer-pool.ts';
import { aSpan, decodeTraces, encodeTraces, hexId, readFields, type TestSpan } from '../support/otlp.ts';

const NOW_MS = 1_800_000_000_000;
const KEPT = pushResponse(undefined);

interface Sent {
  readonly message: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
  readonly answer: (answer: Uint8Array | Error) => void;
}

/** Ingesters `i0`, `i1`, ... whose answers the test gives. */
function start(
  states: readonly InstanceState[],
  over: Partial<RingPusherOptions> = {},
  replicationFactor = 3,
) {
  const instances = states.map((state, i) => {
    const tokens = sortedTokens(Array.from({ length: 16 }, (_, n) => fnv1of32(Buffer.from(`${i}/${n}`))));
    return instanceOf({ id: `i${i}`, addr: `i${i}:9095`, state, tokens, timestampSec: NOW_MS / 1000 });
  });
  const ring = new RingSnapshot(new Map(instances.map((each) => [each.id, each])), {
    replicationFactor,
    heartbeatTimeoutMs: 60_000,
    zoneAwarenessEnabled: false,
    excludedZones: [],
  });
  const sent = new Map<string, Sent>();
  const failed: string[] = [];
  const buffers = new BufferPool(64 << 20, 0);
  const pusher = new RingPusher({
    ring: () => ring,
    operation: WRITE,
    shardSize: () => 0,
    clients: {
      unary: (address, _path, message, headers) =>
        new Promise((resolve, reject) => {
          const answer = (given: Uint8Array | Error): void =>
            given instanceof Error ? reject(given) : resolve(given);
          sent.set(address.slice(0, 2), { message, headers, answer });
        }),
    },
    buffers,
    messageBytesMax: 1 << 20,
    timeoutMs: 5000,
    compression: undefined,
    onSent: () => {},
    onFailed: (address) => failed.push(address.slice(0, 2)),
    nowMs: () => NOW_MS,
    ...over,
  });
  const push = (spans: readonly TestSpan[], namesRejected = false, tenant = 'a') => {
    const body = encodeTraces([...spans]);
    scanRequest(body, pusher.layout);
    const pushed = pusher.push({ tenant, body, spanCount: spans.length, namesRejected });
    // What the next request does to the memory of this one.
    body.fill(0);
    pusher.layout.clear();
    return pushed;
  };
  const answer = (name: string, given: Uint8Array | Error = KEPT): void => sent.get(name)!.answer(given);
  return { ring, pusher, push, sent, answer, failed, buffers };
}

/** Ids that the ring spreads: tokens of neighbours are near. */
const idOf = (trace: number): string => createHash('md5').update(`${trace}`).digest('hex');
const tracesOf = (count: number): TestSpan[] =>
  Array.from({ length: count * 2 }, (_, i) => aSpan({ traceId: idOf(i % count), spanId: hexId(i + 1, 8) }));
const away = new TempoError('unavailable', 'away');
/** Whether a promise has settled, after everything that can happen now has happened. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  void promise.then(
    () => (settled = true),
    () => (settled = true),
  );
  await new Promise(setImmediate);
  return settled;
}

t.test('each trace goes to the ingesters of its token, and to no other', async (t) => {
  const { ring, push, sent, buffers } = start(Array<InstanceState>(5).fill('ACTIVE'));
  const spans = tracesOf(40);
  const pushed = push(spans);
  const wanted = new Map<string, Set<string>>();
  for (const { traceId } of spans) {
    const token = fnv1of32(Buffer.concat([Buffer.from('a'), Buffer.from(traceId, 'hex')]));
    for (const { id } of ring.replicas(token, WRITE, NOW_MS).instances) {
      wanted.set(id, (wanted.get(id) ?? new Set()).add(traceId));
    }
  }
  t.equal(sent.size, 5);
  let copies = 0;
  for (const [id, { message, headers }] of sent) {
    t.equal(headers['x-scope-orgid'], 'a');
    const ids = readFields(message).filter(({ number }) => number === 3);
    t.same(new Set(ids.map(({ payload }) => Buffer.from(payload).toString('hex'))), wanted.get(id));
    const own = decodeTraces(readPushRequest(message.slice()).body);
    t.same(new Set(own.map(({ traceId }) => traceId)), wanted.get(id));
    copies += own.length;
  }
  t.equal(copies, spans.length * 3);
  t.notOk(await isSettled(pushed));
  for (const { answer } of sent.values()) answer(KEPT);
  t.same(await pushed, { rejected: [] });
  await new Promise(setImmediate);
  t.equal(buffers.bytesHeld, 0, 'all buffers are back');
});

t.test('a quorum', async (t) => {
  t.test('is enough: a slow ingester does not hold the push', async (t) => {
    const { push, answer, buffers } = start(['ACTIVE', 'ACTIVE', 'ACTIVE']);
    const pushed = push(tracesOf(3));
    answer('i0');
    t.notOk(await isSettled(pushed), 'one is not enough');
    answer('i2');
    t.same(await pushed, { rejected: [] });
    t.ok(buffers.bytesHeld > 0, 'the slow one still reads');
    answer('i1', away);
    await new Promise(setImmediate);
    t.equal(buffers.bytesHeld, 0);
  });
  t.test('that is missed refuses the push as a whole', async (t) => {
    const { push, answer, failed } = start(['ACTIVE', 'ACTIVE', 'ACTIVE']);
    const pushed = push(tracesOf(3));
    answer('i0', away);
    answer('i1');
    t.notOk(await isSettled(pushed));
    answer('i2', new TempoError('internal', 'crashed'));
    await t.rejects(pushed, { code: 'unavailable', message: 'crashed' }, 'and may be tried again');
    t.same(failed, ['i0', 'i2']);
  });
  t.test('of some traces is not enough', async (t) => {
    const { push, sent } = start(Array<InstanceState>(6).fill('ACTIVE'));
    const pushed = push(tracesOf(60));
    for (const [id, { answer }] of sent) answer(id === 'i0' || id === 'i1' ? away : KEPT);
    await t.rejects(pushed, away);
  });
  t.test('cannot be had: nobody is sent anything', async (t) => {
    const { push, sent, buffers } = start(['ACTIVE']);
    await t.rejects(push(tracesOf(1)), {
      code: 'unavailable',
      message: 'at least 2 live replicas required, could only find 1',
    });
    await t.rejects(start([]).push(tracesOf(1)), { code: 'unavailable', message: /empty ring/ });
    t.equal(sent.size, 0);
    t.equal(buffers.bytesHeld, 0);
  });
  t.test('with another ingester in place of one that leaves', async (t) => {
    const { push, sent } = start(['ACTIVE', 'LEAVING', 'ACTIVE', 'ACTIVE']);
    const pushed = push(tracesOf(20));
    t.same([...sent.keys()].toSorted(), ['i0', 'i2', 'i3']);
    for (const { answer } of sent.values()) answer(KEPT);
    await pushed;
  });
  t.test('of one', async (t) => {
    const { push, sent } = start(['ACTIVE', 'ACTIVE'], {}, 1);
    const pushed = push(tracesOf(20));
    for (const { answer } of sent.values()) answer(KEPT);
    t.same(await pushed, { rejected: [] });
  });
});

t.test('a shard of the ring', async (t) => {
  const six = Array<InstanceState>(6).fill('ACTIVE');
  const shardSize = (): number => 3;
  const tenants = Array.from({ length: 12 }, (_, i) => `tenant-${i}`);
  /** Who gets all traces of the tenant's push; `i2:5` is one that gets five of its spans. */
  const takersOf = async ({ push, sent }: ReturnType<typeof start>, tenant: string): Promise<string[]> => {
    sent.clear();
    const spans = tracesOf(60);
    const pushed = push(spans, false, tenant);
    const takers = [...sent].map(([id, { message, headers, answer }]) => {
      const { length } = decodeTraces(readPushRequest(message.slice()).body);
      answer(headers['x-scope-orgid'] === tenant ? KEPT : away);
      return length === spans.length ? id : `${id}:${length}`;
    });
    await pushed;
    return takers.toSorted();
  };

  t.test('takes all traces of its tenant', async (t) => {
    const ring = start(six, { shardSize });
    const shards: string[][] = [];
    for (const tenant of tenants) shards.push(await takersOf(ring, tenant));
    for (const shard of shards) t.match(shard.join(' '), /^i\d i\d i\d$/);
    t.ok(new Set(shards.map(String)).size > 4, 'tenants have shards of their own');
    t.equal(new Set(shards.flat()).size, 6, 'and together all ingesters');
    for (const [i, tenant] of tenants.entries()) t.same(await takersOf(ring, tenant), shards[i], 'again');
  });
  t.test('is as large as its tenant may have it', async (t) => {
    const ring = start(six, { shardSize: (tenant) => (tenant === 'small' ? 3 : 0) });
    t.match((await takersOf(ring, 'small')).join(' '), /^i\d i\d i\d$/);
    t.equal((await takersOf(ring, 'large')).length, 6, 'the whole ring without a size');
  });
  t.test('changes by one at most when an ingester has left', async (t) => {
    const before = start(six, { shardSize });
    for (const gone of six.keys()) {
      const after = start(six.with(gone, 'LEFT'), { shardSize });
      for (const tenant of tenants) {
        const had = await takersOf(before, tenant);
        const has = await takersOf(after, tenant);
        const kept = had.filter((id) => id !== `i${gone}`);
        t.same(
          has.filter((id) => had.includes(id)),
          kept,
          `${tenant} without i${gone}`,
        );
        t.equal(has.length, 3);
      }
    }
  });
});

t.test('what ingesters refuse single traces for', async (t) => {
  const [one, two] = [idOf(0), idOf(1)];
  const { none, traceTooLarge, maxLiveTraces } = PushReason;
  t.test('by a quorum', async (t) => {
    const { push, answer } = start(['ACTIVE', 'ACTIVE', 'ACTIVE']);
    const pushed = push(tracesOf(3), true);
    answer('i0', pushResponse(Uint8Array.of(traceTooLarge, maxLiveTraces, none)));
    answer('i1', pushResponse(Uint8Array.of(traceTooLarge, none, none)));
    t.notOk(await isSettled(pushed), 'of the second trace the third ingester decides');
    answer('i2', pushResponse(Uint8Array.of(none, maxLiveTraces, none)));
    const { rejected } = await pushed;
    t.same(
      rejected.map(({ reason, spanCount, traceIds }) => [reason, spanCount, [...traceIds!]]),
      [
        [DISCARD_REASONS[traceTooLarge], 2, [one]],
        [DISCARD_REASONS[maxLiveTraces], 2, [two]],
      ],
    );
    t.match(
      rejected[0]!.message,
      `TRACE_TOO_LARGE: ingesters refused 2 spans of tenant a, the first of trace ${one}`,
    );
  });
  t.test('by fewer: it is kept', async (t) => {
    const { push, answer } = start(['ACTIVE', 'ACTIVE', 'ACTIVE']);
    const pushed = push(tracesOf(1));
    answer('i0', pushResponse(Uint8Array.of(traceTooLarge)));
    answer('i1');
    answer('i2');
    t.same(await pushed, { rejected: [] });
  });
  t.test('while another is away', async (t) => {
    const { push, answer } = start(['ACTIVE', 'ACTIVE', 'ACTIVE']);
    const pushed = push(tracesOf(1));
    answer('i0', pushResponse(Uint8Array.of(traceTooLarge)));
    answer('i1', away);
    answer('i2');
    t.match(await pushed, { rejected: [{ reason: 'trace_too_large', spanCount: 2 }] });
  });
  t.test('an answer for other traces is none', async (t) => {
    const { push, sent } = start(['ACTIVE', 'ACTIVE', 'ACTIVE']);
    const pushed = push(tracesOf(2));
    for (const { answer } of sent.values()) answer(pushResponse(Uint8Array.of(traceTooLarge)));
    await t.rejects(pushed, { code: 'unavailable', message: /answered for 1 of 2 traces/ });
  });
});

t.test('sizes', async (t) => {
  const small = start(['ACTIVE'], { messageBytesMax: 100 }, 1);
  await t.rejects(small.push(tracesOf(2)), { code: 'too_large', message: /at most 100 may be sent/ });
  const few = start(['ACTIVE'], { buffers: new BufferPool(4096, 0) }, 1);
  const first = few.push(tracesOf(2));
  await t.rejects(few.push(tracesOf(2)), { code: 'unavailable' }, 'while too much is on its way');
  few.answer('i0');
  await first;
});

t.test('compression', async (t) => {
  let runs = 0;
  const run = async (bytes: Uint8Array): Promise<Uint8Array> => {
    runs++;
    return bytes.toReversed();
  };
  const { push, sent } = start(['ACTIVE', 'ACTIVE', 'ACTIVE'], {
    compression: { encoding: 'reversed', run },
  });
  const spans = tracesOf(2);
  const pushed = push(spans);
  await new Promise(setImmediate);
  t.equal(runs, 1, 'once for all who are sent the same');
  for (const { message, headers, answer } of sent.values()) {
    t.equal(headers['grpc-encoding'], 'reversed');
    t.equal(decodeTraces(readPushRequest(message.toReversed()).body).length, spans.length);
    answer(KEPT);
  }
  await pushed;
});
