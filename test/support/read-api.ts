// What tests ask the query API, answered in the smallest useful form.
import assert from 'node:assert/strict';
import type { RunningTempo } from './server.ts';
import { StreamingClient } from './streaming-client.ts';

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

/** How many traces of the last minutes a search of one tenant finds; nothing is to be missing. */
export async function tracesFound(tempo: RunningTempo, tenant?: string): Promise<number> {
  const sec = Math.floor(Date.now() / 1000);
  const request = `/api/search?q=%7B%7D&limit=10000&start=${sec - 600}&end=${sec + 600}`;
  const headers: Record<string, string> = tenant === undefined ? {} : { 'x-scope-orgid': tenant };
  const response = await fetch(tempo.url + request, { headers });
  assert.equal(response.headers.get('x-tempo-partial'), null);
  return ((await okJson(response)) as { readonly traces: readonly unknown[] }).traces.length;
}

/** A streamed search for all of the last hour. @returns its status of gRPC, and how many traces it found. */
export async function tracesStreamed(address: string, limit: number): Promise<readonly [number, number]> {
  const client = new StreamingClient(address);
  const now = Math.floor(Date.now() / 1000);
  const request = { Query: '{ }', Limit: limit, start: now - 3600, end: now + 60 };
  const { code, messages } = await client.ask('Search', request);
  client.close();
  const ids = messages.flatMap(({ traces }) => traces as readonly { readonly traceID: string }[]);
  return [code, new Set(ids.map(({ traceID }) => traceID)).size];
}

/** Asks for everything to be written to blocks. */
export async function flush(tempo: RunningTempo): Promise<void> {
  const response = await fetch(`${tempo.url}/flush`, { method: 'POST' });
  if (!response.ok) throw new Error(`/flush: status ${response.status}: ${await response.text()}`);
  await response.body?.cancel();
}
