// Which traces an ingester holds, asked of itself by gRPC as queriers of Tempo ask.
import { channelTo } from './channel.ts';
import { decodeTraces, field, readFields } from './otlp.ts';

const ASKERS = 8;

/** Ids of those of the traces, of one span each, that the ingester has. */
export async function heldBy(grpcPort: number, ids: Iterable<string>): Promise<ReadonlySet<string>> {
  const channel = channelTo(grpcPort);
  const held = new Set<string>();
  const left = [...ids];
  const asker = async (): Promise<void> => {
    for (let id = left.pop(); id !== undefined; id = left.pop()) {
      const ask = field(1, Buffer.from(id, 'hex'));
      const answer = await channel.unary('/tempopb.Querier/FindTraceByID', ask, { 'x-scope-orgid': 'a' });
      const trace = readFields(answer).find(({ number }) => number === 1)?.payload ?? new Uint8Array(0);
      const spans = decodeTraces(trace);
      if (spans.length > 1) throw new Error(`trace ${id} has ${spans.length} spans`);
      if (spans[0]?.traceId === id) held.add(id);
    }
  };
  await Promise.all(Array.from({ length: ASKERS }, asker));
  channel.close();
  return held;
}
