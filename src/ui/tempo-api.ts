// What the page asks of the server it came from.
import type { JsonTrace } from './span-tree.ts';

export interface FoundTrace {
  readonly traceID: string;
  readonly rootServiceName?: string;
  readonly rootTraceName?: string;
  readonly startTimeUnixNano?: string;
  readonly durationMs?: number;
  readonly serviceStats?: Readonly<
    Record<string, { readonly spanCount?: number; readonly errorCount?: number }>
  >;
  readonly spanSets?: readonly { readonly matched?: number }[];
}

export interface FetchedTrace {
  readonly trace?: JsonTrace;
  readonly status?: string;
  readonly message?: string;
}

/** The server said no; the message is its own. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface Asking {
  readonly prefix: string;
  readonly tenant: string;
  readonly signal: AbortSignal;
}

const LIMIT = 20;
const SPANS_PER_SET = 1;
const MESSAGE_MAX = 2000;

export async function search(
  asking: Asking,
  q: string,
  sinceSeconds: number,
): Promise<readonly FoundTrace[]> {
  const end = Math.floor(Date.now() / 1000) + 1;
  const params = new URLSearchParams({
    q,
    limit: String(LIMIT),
    spss: String(SPANS_PER_SET),
    start: String(end - sinceSeconds),
    end: String(end),
  });
  const answer = (await get(asking, `/api/search?${params.toString()}`)) as {
    traces?: readonly FoundTrace[];
  };
  return answer.traces ?? [];
}

export async function fetchTrace(asking: Asking, traceId: string): Promise<FetchedTrace> {
  return (await get(asking, `/api/v2/traces/${encodeURIComponent(traceId)}`)) as FetchedTrace;
}

async function get({ prefix, tenant, signal }: Asking, path: string): Promise<unknown> {
  const headers = { accept: 'application/json', ...(tenant === '' ? {} : { 'x-scope-orgid': tenant }) };
  const response = await fetch(`.${prefix}${path}`, { headers, signal });
  if (response.ok) return response.json();
  const text = (await response.text()).trim();
  throw new Refusal(response.status, text.slice(0, MESSAGE_MAX) || response.statusText);
}
