// Sends a corpus over OTLP/gRPC: some connections, one request in flight on each, at full speed or at a
// given rate.
import { setTimeout as sleep } from 'node:timers/promises';
import { connectOtlp } from '../../src/rpc/otlp-client.ts';
import type { Corpus } from './corpus.ts';
import { quantile } from './quantile.ts';

export type PushResult = {
  readonly wallSec: number;
  readonly acceptedSpans: number;
  readonly lostSpans: number;
  readonly problems: ReadonlyMap<string, number>;
  readonly ackP50Ms: number;
  readonly ackP99Ms: number;
};

export type PushOptions = {
  readonly otlp: string;
  readonly connections: number;
  readonly spansPerSec: number;
  readonly tenant?: string | undefined;
  /** More than 0: requests go in turn to that many tenants. */
  readonly tenants: number;
};

/** When each request may go out, in ms after the start, so that `spansPerSec` are sent (0: at once). */
function dueTimes({ requests }: Corpus, spansPerSec: number): Float64Array {
  const due = new Float64Array(requests.length);
  if (spansPerSec === 0) return due;
  let spans = 0;
  requests.forEach((request, at) => {
    due[at] = (spans * 1000) / spansPerSec;
    spans += request.spans;
  });
  return due;
}

/** Sends every request once; requests that fail are counted by their message, not sent again. */
export async function push(corpus: Corpus, options: PushOptions): Promise<PushResult> {
  const due = dueTimes(corpus, options.spansPerSec);
  const latencies: number[] = [];
  const problems = new Map<string, number>();
  const note = (message: string): void => void problems.set(message, (problems.get(message) ?? 0) + 1);
  let next = 0;
  let lostSpans = 0;
  const opening = Array.from({ length: options.connections }, () =>
    connectOtlp(`http://${options.otlp}`, { tenant: options.tenant }),
  );
  const clients = await Promise.all(opening);
  const beganMs = performance.now();
  const drive = async (client: (typeof clients)[number]): Promise<void> => {
    for (let at = next++; at < corpus.requests.length; at = next++) {
      const { body, spans } = corpus.requests[at]!;
      const waitMs = beganMs + due[at]! - performance.now();
      if (waitMs > 0) await sleep(waitMs);
      const sentMs = performance.now();
      try {
        const tenant = options.tenants > 0 ? `tenant-${at % options.tenants}` : undefined;
        const { rejectedSpans, message } = await client.send(body, tenant);
        lostSpans += rejectedSpans;
        if (message !== '') note(message);
      } catch (err) {
        lostSpans += spans;
        note((err as Error).message);
      }
      latencies.push(performance.now() - sentMs);
    }
  };
  await Promise.all(clients.map(drive));
  const wallSec = (performance.now() - beganMs) / 1000;
  for (const client of clients) client.close();
  return {
    wallSec,
    acceptedSpans: corpus.spans - lostSpans,
    lostSpans,
    problems,
    ackP50Ms: quantile(latencies, 0.5),
    ackP99Ms: quantile(latencies, 0.99),
  };
}
