// One of the servers that are compared: asks it, and brings what it says into a form that does not depend on
// order, statistics and groups.
import { canonical, canonicalTrace } from './canonical.ts';

export interface ServerOptions {
  /** Without a slash at its end. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

export interface Answer {
  readonly status: number;
  /** Canonical JSON; the message where the status is none of success. */
  readonly text: string;
  /** As it came, '' = not JSON. */
  readonly body: unknown;
  /** Why it lacks something, as the server says. */
  readonly partial: string;
}

const ONE_TRACE = /^\/api\/(v2\/)?traces\//;

/** Rejects when there is no answer. */
export async function ask({ url, headers, timeoutMs }: ServerOptions, path: string): Promise<Answer> {
  let response: Response;
  try {
    response = await fetch(url + path, {
      headers: { accept: 'application/json', ...headers },
      signal: AbortSignal.timeout(timeoutMs),
    });
  } catch (err) {
    const cause = err instanceof Error && err.cause instanceof Error ? err.cause.message : String(err);
    throw new Error(`${url} cannot be asked for ${path}: ${cause}`, { cause: err });
  }
  const text = await response.text();
  const partial = response.headers.get('x-tempo-partial') ?? '';
  const body = response.ok ? parsed(text) : undefined;
  if (body === undefined) return { status: response.status, text: text.trim(), body: '', partial };
  const form = ONE_TRACE.test(path) ? canonicalTrace(body) : canonical(shownWhole(body));
  return { status: response.status, text: JSON.stringify(form), body, partial };
}

function parsed(text: string): object | undefined {
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === 'object' && body !== null ? body : undefined;
  } catch {
    return undefined;
  }
}

interface SpanSet {
  readonly matched?: number;
  readonly spans?: readonly unknown[];
}

/** Which spans of a spanset are shown when there are more is up to the server. */
function shownWhole(body: object): object {
  const { traces } = body as { traces?: readonly { spanSets?: readonly SpanSet[]; spanSet?: SpanSet }[] };
  if (!Array.isArray(traces)) return body;
  return {
    ...body,
    traces: traces.map(({ spanSet, spanSets, ...trace }) => ({
      ...trace,
      spanSets: (spanSets ?? (spanSet === undefined ? [] : [spanSet])).map((set: SpanSet) =>
        (set.matched ?? 0) > (set.spans?.length ?? 0) ? { ...set, spans: 'not all are shown' } : set,
      ),
    })),
  };
}
