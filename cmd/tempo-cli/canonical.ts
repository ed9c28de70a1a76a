// The form of a JSON answer that does not depend on order, as the golden files have it: lists sorted (but
// OTLP arrays and samples), query statistics and exemplars dropped, traces as a flat list of spans.

export function canonical(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) {
    const out = value.map((element) => canonical(element));
    if (key === 'values' || key === 'samples') return out;
    const keyed = out.map((element) => ({ element, key: identity(element) + stable(element) }));
    return keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0)).map(({ element }) => element);
  }
  if (typeof value !== 'object' || value === null) return value;
  const record = value as Record<string, unknown>;
  const out: Record<string, unknown> = {};
  for (const name of Object.keys(record).sort()) {
    if (name === 'metrics' || name === 'exemplars' || (name === 'spanSet' && record['spanSets'])) continue;
    out[name] = canonical(record[name], name);
  }
  return out;
}

/** Trace by id, v1 or v2. */
export function canonicalTrace(body: unknown): unknown {
  const { trace, ...rest } = body as { trace?: unknown };
  if (trace !== undefined) return { ...(canonical(rest) as object), trace: flatTrace(trace) };
  return { trace: flatTrace(body) };
}

interface Spans {
  readonly scope?: unknown;
  readonly spans?: readonly { readonly spanId?: string }[];
}

interface ResourceSpans {
  readonly resource?: unknown;
  readonly scopeSpans?: readonly Spans[];
}

/** Each span with its scope and resource, whatever groups they came in. */
function flatTrace(trace: unknown): unknown {
  const { batches, resourceSpans } = trace as {
    batches?: readonly ResourceSpans[];
    resourceSpans?: readonly ResourceSpans[];
  };
  const flat = (batches ?? resourceSpans ?? []).flatMap(({ resource, scopeSpans }) =>
    (scopeSpans ?? []).flatMap(({ scope, spans }) =>
      (spans ?? []).map((span) => ({ spanID: span.spanId, span, scope, resource })),
    ),
  );
  return canonical(flat);
}

/** JSON text with sorted keys. */
function stable(value: unknown): string {
  return JSON.stringify(value);
}

const IDENTITIES = ['traceID', 'spanID', 'spanId', 'key', 'labels', 'timestampMs', 'name'];

function identity(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const record = value as Record<string, unknown>;
  for (const key of IDENTITIES) {
    if (record[key] !== undefined) return JSON.stringify(key === 'name' ? record : record[key]);
  }
  return JSON.stringify(record);
}
