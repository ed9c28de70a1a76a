// Queries while heads become blocks, blocks go to the backend, are compacted there, and local ones are
// deleted: never a miss, never a span twice, never an error. SWAP_SECONDS sets how long.
import { setTimeout as pause } from 'node:timers/promises';
import t from 'tap';
import { httpExport, metric } from '../support/hostile.ts';
import { aTrace, encodeTraces, hexId } from '../support/otlp.ts';
import { flush } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

const SECONDS = Number(process.env['SWAP_SECONDS'] ?? 4);
const SPANS = 12;
const ASKERS = 4;
const CHECKED_MAX = 100;
const YAML = `
ingester: { complete_block_timeout: 50ms, flush_check_period: 50ms, max_block_bytes: 200000 }
compactor: { compaction: { compaction_cycle: 100ms } }
`;

/** Undefined when the answer is whole, else what is wrong with it. */
async function faultOf(tempo: RunningTempo, id: number): Promise<string | undefined> {
  const response = await tempo.get(`/api/v2/traces/${hexId(id, 16)}`);
  const text = await response.text();
  if (response.status !== 200) return `trace ${id}: ${response.status} ${text}`;
  const answer = JSON.parse(text) as {
    status?: string;
    trace: { resourceSpans?: { scopeSpans: { spans: { spanId: string }[] }[] }[] };
  };
  if (answer.status !== undefined) return `trace ${id}: ${text.slice(-300)}`;
  const spans = (answer.trace.resourceSpans ?? []).flatMap((r) => r.scopeSpans.flatMap((s) => s.spans));
  const distinct = new Set(spans.map(({ spanId }) => spanId)).size;
  return spans.length === SPANS && distinct === SPANS
    ? undefined
    : `trace ${id}: ${spans.length} spans, ${distinct} ids`;
}

async function searchFault(tempo: RunningTempo, id: number): Promise<string | undefined> {
  const query = new URLSearchParams({ q: `{ span.marker = "m${id}" }`, limit: '5' });
  const response = await tempo.get(`/api/search?${query.toString()}`);
  const text = await response.text();
  if (response.status !== 200) return `search ${id}: ${response.status} ${text}`;
  const { traces = [] } = JSON.parse(text) as { traces?: { traceID: string }[] };
  const partial = response.headers.get('x-tempo-partial');
  return traces.length === 1 && partial === null
    ? undefined
    : `search ${id}: ${traces.length} traces, ${partial}`;
}

t.test(
  `${SECONDS} s of queries while blocks come and go`,
  { timeout: SECONDS * 1000 + 60_000 },
  async (t) => {
    const tempo = await startTempo(testFolder(t), { yaml: YAML });
    t.teardown(() => tempo.kill());
    const endsAtMs = performance.now() + SECONDS * 1000;
    const isOver = (): boolean => performance.now() > endsAtMs;
    const faults: string[] = [];
    let pushed = 0;
    let asked = 0;
    let flushes = 0;
    const pusher = async (): Promise<void> => {
      while (!isOver()) {
        const id = pushed + 1;
        const startUnixNano = BigInt(Date.now()) * 1_000_000n;
        const spans = aTrace(id, SPANS, () => ({
          startUnixNano,
          endUnixNano: startUnixNano + 1000n,
          attributes: [['marker', `m${id}`]],
        }));
        // In two requests, so that a trace may lie in two blocks.
        for (const part of [spans.slice(0, SPANS / 2), spans.slice(SPANS / 2)]) {
          const { status } = await httpExport(tempo, encodeTraces(part));
          if (status !== 200) faults.push(`push ${id}: ${status}`);
        }
        pushed = id;
      }
    };
    const flusher = async (): Promise<void> => {
      while (!isOver()) {
        await flush(tempo).catch((err: unknown) => faults.push(String(err)));
        flushes++;
      }
    };
    const asker = async (n: number): Promise<void> => {
      while (!isOver() && faults.length < 20) {
        const known = pushed;
        if (known === 0) {
          await new Promise(setImmediate);
          continue;
        }
        // The newest, where the swap happens, and any other.
        const id = asked++ % 2 === 0 ? known : 1 + ((asked * 7919 + n) % known);
        const fault = asked % 5 === 0 ? await searchFault(tempo, id) : await faultOf(tempo, id);
        if (fault !== undefined) faults.push(fault);
      }
    };
    await Promise.all([pusher(), flusher(), ...Array.from({ length: ASKERS }, (_, n) => asker(n))]);
    t.strictSame(faults, [], `${asked} queries, ${pushed} traces, ${flushes} flushes`);
    t.ok(asked > 20 && flushes > 2);
    const compacted = (): Promise<number> => metric(tempo, 'tempodb_compaction_blocks_total');
    for (let waits = 0; waits < 100 && (await compacted()) === 0; waits++) await pause(200);
    t.ok((await compacted()) > 0, 'blocks were compacted');
    t.equal(await metric(tempo, 'tempodb_compaction_errors_total'), 0);
    for (let id = 1; id <= Math.min(pushed, CHECKED_MAX); id++) {
      const fault = await faultOf(tempo, id);
      if (fault !== undefined) t.fail(fault);
    }
    t.equal(await tempo.stop(), 0);
  },
);
