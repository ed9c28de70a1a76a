// What tests ask the query API, answered in the smallest useful form.
import type { RunningTempo } from './server.ts';

const HTTP_OK = 200;
const LIMIT = 100_000;

async function okJson(response: Response): Promise<unknown> {
  const text = await response.text();
  if (response.status !== HTTP_OK) throw new Error(`${response.url}: status ${response.status}: ${text}`);
  return JSON.parse(text);
}

/** The ids of the traces that match a TraceQL query, sorted, padded to 32 hex digits. */
export async function searchIds(tempo: RunningTempo, q: string): Promise<string[]> {
  const query = new URLSearchParams({ q, limit: String(LIMIT) });
  const body = (await okJson(await tempo.get(`/api/search?${query.toString()}`))) as {
    traces?: { traceID: string }[];
  };
  return (body.traces ?? []).map(({ traceID }) => traceID.padStart(32, '0')).toSorted();
}

/** The number of spans of a trace, 0 when it is not found. */
export async function spansOfTrace(tempo: RunningTempo, traceId: string): Promise<number> {
  return (await spanIdsOfTrace(tempo, traceId)).length;
}

/** The ids of the spans of a trace as the JSON has them, none when it is not found. */
export async function spanIdsOfTrace(tempo: RunningTempo, traceId: string): Promise<string[]> {
  const response = await tempo.get(`/api/traces/${traceId}`);
  if (response.status === 404) {
    await response.body?.cancel();
    return [];
  }
  const body = (await okJson(response)) as { batches?: { scopeSpans: { spans: { spanId: string }[] }[] }[] };
  const scopes = (body.batches ?? []).flatMap(({ scopeSpans }) => scopeSpans);
  return scopes.flatMap(({ spans }) => spans.map(({ spanId }) => spanId));
}

/** Asks for everything to be written to blocks. */
export async function flush(tempo: RunningTempo): Promise<void> {
  const response = await fetch(`${tempo.url}/flush`, { method: 'POST' });
  if (!response.ok) throw new Error(`/flush: status ${response.status}: ${await response.text()}`);
  await response.body?.cancel();
}
