// Limits of traces: what a scan tells of the traces of a request, live traces, bytes of a trace, and what is
// left of a request in which spans are refused.
import t from 'tap';
import { pushReasons, PushReason } from '../../src/contracts/push-bytes.ts';
import type { PushRequest, PushResult } from '../../src/contracts/push.ts';
import { TempoError } from '../../src/lib/errors.ts';
import { cutRuns, scanRequest } from '../../src/model/otlp/scan.ts';
import { RUN_WORDS, RunWord, TraceRuns } from '../../src/model/otlp/trace-runs.ts';
import { TenantTraces } from '../../src/modules/ingester/tenant-traces.ts';
import { registerPushMethods } from '../../src/modules/ingester/push-methods.ts';
import { TraceLimiter, type TraceLimits } from '../../src/modules/ingester/trace-limiter.ts';
import { GrpcMethods } from '../../src/rpc/grpc-methods.ts';
import {
  aResource,
  aScope,
  aSpan,
  decodeTraces,
  encodeTraces,
  field,
  hexId,
  type TestResource,
  type TestSpan,
} from '../support/otlp.ts';

let lastSpanId = 0;

/** Spans with the same objects are neighbours in a request. */
const SCOPE = aScope();
const resources = new Map<string, TestResource>();
const resourceOf = (service: string): TestResource =>
  resources.get(service) ?? resources.set(service, aResource(service)).get(service)!;

/** Spans of a trace; `bytes` more in each. */
const spansOf = (trace: number, count = 1, bytes = 0, service = 'shop'): TestSpan[] =>
  Array.from({ length: count }, () =>
    aSpan({
      traceId: hexId(trace, 16),
      spanId: hexId(++lastSpanId, 8),
      attributes: bytes === 0 ? [] : [['pad', 'x'.repeat(bytes)]],
      resource: resourceOf(service),
      scope: SCOPE,
    }),
  );

const idAt = (body: Uint8Array, runs: TraceRuns, run: number): number =>
  body[runs.words[run * RUN_WORDS + RunWord.idAt]! + 15]!;

t.test('runs of a request', (t) => {
  const spans = [...spansOf(1, 2), ...spansOf(2), ...spansOf(1), ...spansOf(1, 3, 0, 'other')];
  const body = encodeTraces(spans);
  const runs = new TraceRuns();
  for (const round of ['first', 'again']) {
    t.equal(scanRequest(body, runs).spanCount, 7, round);
    const rows = Array.from({ length: runs.count }, (_, run) => {
      const at = run * RUN_WORDS;
      return [idAt(body, runs, run), runs.words[at + RunWord.spans], runs.words[at + RunWord.group]];
    });
    t.same(
      rows,
      [
        [1, 2, 0],
        [2, 1, 0],
        [1, 1, 0],
        [1, 3, 1],
      ],
      'a run ends with its trace and with its scope',
    );
  }
  t.equal(runs.groups, 2);
  const word = (run: number, of: number): number => runs.words[run * RUN_WORDS + of]!;
  const sizes = [0, 1, 2, 3].map((run) => word(run, RunWord.bytes));
  t.equal(sizes[0], sizes[1]! * 2);
  const groups = [word(0, RunWord.groupBytes), word(3, RunWord.groupBytes)];
  t.ok(groups[0]! > 20 && groups[1]! > 20, 'resource and scope count');
  const containers = body.length - sizes.reduce((a, b) => a + b) - groups[0]! - groups[1]!;
  t.ok(containers > 0 && containers <= 16, 'all but the frames of containers is counted');
  const kept = cutRuns(body, runs, Uint8Array.of(0, 1, 0, 1));
  t.same(decodeTraces(kept), [spans[0], spans[1], spans[3]]);
  t.equal(Buffer.from(kept).indexOf('other'), -1, 'containers without spans go too');
  t.end();
});

t.test('more runs than fit at first', (t) => {
  const runs = new TraceRuns();
  const body = encodeTraces(Array.from({ length: 1000 }, (_, i) => spansOf(1 + (i % 2))[0]!));
  scanRequest(body, runs);
  t.equal(runs.count, 1000);
  t.equal(idAt(body, runs, 999), 2);
  t.end();
});

function start(over: Partial<TraceLimits> = {}) {
  const limits = { maxTracesPerUser: 0, maxGlobalTracesPerUser: 0, maxBytesPerTrace: 0, ...over };
  const clock = { nowMs: 0, share: 1 };
  const limiter = new TraceLimiter({
    limits: () => limits,
    traceIdlePeriodMs: 5000,
    traceLivePeriodMs: 30_000,
    globalShare: () => clock.share,
    nowMs: () => clock.nowMs,
  });
  const runs = new TraceRuns();
  const admit = (spans: readonly TestSpan[], tenant = 'a') => {
    const body = encodeTraces([...spans]);
    scanRequest(body, runs);
    return limiter.admit(tenant, body, runs);
  };
  return { limiter, clock, limits, admit };
}

t.test('live traces', (t) => {
  const { limiter, clock, admit } = start({ maxTracesPerUser: 2 });
  const message =
    'LIVE_TRACES_EXCEEDED: max live traces exceeded for tenant a: per-user traces limit ' +
    '(local: 2 global: 0 actual local: 2) exceeded';
  t.equal(admit([...spansOf(1), ...spansOf(2)]), undefined);
  const kept = [...spansOf(1), ...spansOf(2)];
  const rest = admit([...spansOf(3, 2), kept[0]!, ...spansOf(4), kept[1]!]);
  t.equal(rest?.spanCount, 2);
  t.same(decodeTraces(rest!.body), kept, 'spans of live traces are kept');
  t.same(rest?.rejected, [{ reason: 'live_traces_exceeded', spanCount: 3, message }]);
  t.match(admit(spansOf(3)), { spanCount: 0 });
  t.equal(admit(spansOf(3), 'b'), undefined, 'another tenant');
  clock.nowMs = 4900;
  t.match(admit(spansOf(3)), { spanCount: 0 }, 'just before');
  t.equal(admit(spansOf(1)), undefined);
  clock.nowMs = 5000;
  t.equal(admit(spansOf(3)), undefined, 'trace 2 was silent for long enough');
  t.match(admit(spansOf(2)), { spanCount: 0 });
  clock.nowMs = 60_000;
  limiter.sweep();
  t.equal(limiter.tenantCount, 0, 'nothing is left of tenants that are silent');
  t.equal(
    start({ maxTracesPerUser: 5, maxGlobalTracesPerUser: 1 }).admit([...spansOf(1), ...spansOf(2)])
      ?.spanCount,
    1,
  );
  const many = start({ maxGlobalTracesPerUser: 4 });
  many.clock.share = 0.6;
  t.match(many.admit([...spansOf(1), ...spansOf(2), ...spansOf(3)]), {
    spanCount: 2,
    rejected: [{ message: /\(local: 0 global: 4 actual local: 2\)/ }],
  });
  many.clock.share = 0;
  t.equal(many.admit([...spansOf(4)]), undefined, 'nobody knows how many ingesters there are');
  t.equal(start({ maxGlobalTracesPerUser: 1 }).admit([...spansOf(1), ...spansOf(2)])?.spanCount, 1);
  t.equal(start().admit([...spansOf(1), ...spansOf(2)]), undefined, 'no limit');
  t.end();
});

t.test('a trace lives no longer than trace_live_period at a stretch', (t) => {
  const { clock, admit } = start({ maxTracesPerUser: 1 });
  for (; clock.nowMs <= 28_000; clock.nowMs += 4000) t.equal(admit(spansOf(1)), undefined);
  clock.nowMs = 29_900;
  t.match(admit(spansOf(2)), { spanCount: 0 });
  clock.nowMs = 30_000;
  t.equal(admit(spansOf(2)), undefined);
  t.end();
});

t.test('bytes of a trace', (t) => {
  const { limiter, clock, limits, admit } = start({ maxBytesPerTrace: 3000 });
  t.equal(admit(spansOf(2, 1, 1900)), undefined);
  const second = admit(spansOf(2, 1, 1900));
  t.match(second, { spanCount: 0, rejected: [{ reason: 'trace_too_large', spanCount: 1 }] });
  t.match(
    second?.rejected[0]?.message,
    /^TRACE_TOO_LARGE: max size of trace \(3000\) exceeded while adding 19\d\d bytes to trace 0{31}2 for/,
  );
  t.match(admit(spansOf(2)), { spanCount: 0 }, 'once too large, always too large');
  const good = spansOf(4);
  const mixed = admit([...spansOf(3, 1, 1900), ...good, ...spansOf(3, 1, 1900)]);
  t.same(decodeTraces(mixed!.body), good, 'a trace is kept or refused as a whole');
  t.match(mixed?.rejected, [{ reason: 'trace_too_large', spanCount: 2, message: /adding 39\d\d bytes/ }]);
  clock.nowMs = 20_000;
  limiter.sweep();
  t.match(admit(spansOf(2)), { spanCount: 0 }, 'bytes outlive the live trace');
  limiter.headCut('a');
  t.match(admit(spansOf(2)), { spanCount: 0 }, 'the head is cut, and spans of the trace came just before');
  clock.nowMs = 40_000;
  limiter.headCut('a');
  t.equal(admit(spansOf(2)), undefined, 'a new head');
  limits.maxBytesPerTrace = 0;
  t.equal(admit(spansOf(2, 9, 1900)), undefined, 'limits may change at any time');
  t.end();
});

t.test('resources count once a scope and request', (t) => {
  const { admit } = start({ maxBytesPerTrace: 700 });
  const service = 's'.repeat(300);
  const spans = [1, 2, 1, 2, 1, 2].flatMap((trace) => spansOf(trace, 1, 0, service));
  t.equal(admit(spans), undefined);
  t.match(admit(spans), { spanCount: 0 }, 'and again in the next request');
  t.end();
});

t.test('a request that could not be kept', (t) => {
  const { limiter, admit } = start({ maxBytesPerTrace: 3000 });
  for (let i = 0; i < 10; i++) {
    const spans = spansOf(1, 1, 1900);
    t.equal(admit(spans), undefined);
    limiter.release('a', encodeTraces(spans));
    limiter.release('nobody', encodeTraces(spans));
  }
  t.end();
});

t.test('the table against a map', (t) => {
  const lives = { idle: 50, live: 300 };
  const traces = new TenantTraces(lives);
  const model = new Map<number, { bytes: number; since: number; last: number }>();
  const id = new Uint8Array(16);
  const view = new DataView(id.buffer);
  let seed = 12_345;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const isLive = (now: number, trace: { since: number; last: number }): boolean =>
    now - trace.last < lives.idle && now - trace.since < lives.live;
  for (let now = 1; now < 400; now++) {
    for (let i = 0; i < 50; i++) {
      const key = random(3000);
      view.setUint32(12, key); // ids of 64 bits and less are as good as any
      const group = traces.takeGroups(1);
      const sum = traces.addBytes(traces.touch(id, 0, now, 0), 3, group, 2);
      const trace = model.get(key) ?? { bytes: 0, since: now, last: now };
      if (!isLive(now, trace)) trace.since = now;
      model.set(key, { ...trace, bytes: trace.bytes + 5, last: now });
      if (sum !== trace.bytes + 5) t.equal(sum, trace.bytes + 5, `trace ${key} at ${now}`);
    }
    if (now % 20 !== 0) continue;
    traces.sweep(now, now % 100 !== 0);
    const live = [...model.values()].filter((trace) => isLive(now, trace)).length;
    t.equal(traces.liveCount, live, `live at ${now}`);
    if (traces.size < model.size) {
      for (const [key, trace] of model) if (!isLive(now, trace)) model.delete(key);
      t.equal(traces.size, model.size, `remembered at ${now}`);
    }
  }
  t.end();
});

t.test('what distributors of other processes push', async (t) => {
  const pushed: { tenant: string; spans: TestSpan[]; spanCount: number }[] = [];
  let result: PushResult = { rejected: [] };
  const disk: { refusal?: TempoError } = {};
  const methods = new GrpcMethods();
  const { limiter } = start({ maxTracesPerUser: 3, maxBytesPerTrace: 900 });
  registerPushMethods(methods, {
    pusher: {
      async push({ tenant, body, spanCount, traces, namesRejected }: PushRequest) {
        if (traces === undefined) pushed.push({ tenant, spans: decodeTraces(body), spanCount });
        else result = limiter.admit(tenant, body, traces, namesRejected) ?? { rejected: [] };
        return result;
      },
    },
    multitenancyEnabled: true,
    admit: () => {
      if (disk.refusal !== undefined) throw disk.refusal;
    },
    limitsTraces: (tenant) => tenant === 'limited',
  });
  const segment = (spans: TestSpan[]): Uint8Array =>
    Buffer.concat([
      field(2, Buffer.concat([Buffer.alloc(8), encodeTraces(spans)])),
      field(3, Buffer.from(spans[0]!.traceId, 'hex')),
    ]);
  const call = async (tenant: string | undefined, ...traces: TestSpan[][]): Promise<number[] | undefined> => {
    const method = methods.find('/tempopb.Pusher/PushBytesV2');
    if (method?.kind !== 'unary') throw new Error('no such method');
    const message = Buffer.concat(traces.map(segment));
    const metadata = tenant === undefined ? {} : { 'x-scope-orgid': tenant };
    const signal = new AbortController().signal;
    const answer = await method.handle({ message, metadata, signal, trailers: {} });
    const reasons = pushReasons(answer);
    return reasons === undefined ? undefined : [...reasons];
  };
  const [one, two] = [spansOf(1, 2), spansOf(2)];
  t.equal(await call('free', one, two), undefined);
  t.same(pushed, [{ tenant: 'free', spans: [...one, ...two], spanCount: 3 }]);

  t.equal(await call('limited', one, two), undefined);
  t.same(
    await call('limited', spansOf(1), spansOf(3, 1, 2000), spansOf(4), spansOf(2)),
    [PushReason.none, PushReason.traceTooLarge, PushReason.maxLiveTraces, PushReason.none],
    'reasons come by trace',
  );
  const bad = spansOf(9).map((span) => ({ ...span, spanId: '00' }));
  t.same(await call('free', bad, two, bad), [PushReason.unknown, PushReason.none, PushReason.unknown]);
  t.same(pushed.at(-1), { tenant: 'free', spans: two, spanCount: 1 }, 'spans with bad ids are cut out');
  t.same(await call('free', bad), [PushReason.unknown], 'none is left to push');
  t.equal(pushed.length, 2);

  await t.rejects(call(undefined, two), { code: 'unauthenticated' });
  disk.refusal = new TempoError('unavailable', 'disk is full');
  await t.rejects(call('free', two), disk.refusal, 'before anything is read');
  t.equal(pushed.length, 2);
});
