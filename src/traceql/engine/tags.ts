// Names of attributes and values of fields in one source: of all spans, or of those that a query finds.
import type { Query } from '../ast.ts';
import { Bitset } from '../../lib/bitset.ts';
import type { AttributeScope, Field, Owner, SpanSource } from '../source.ts';
import { ownerOf } from './fields.ts';
import { runStages } from './pipeline.ts';
import { Scan, UP } from './scan.ts';
import type { ValueSet } from './value-set.ts';

const SCOPE_OWNER: Readonly<Record<AttributeScope, Owner>> = {
  span: 'span',
  resource: 'resource',
  event: 'event',
  link: 'link',
  instrumentation: 'scope',
};

/** What an entry of a cache takes beside its value. */
const ENTRY_BYTES = 200;

/** Which spans count: those that the query finds (undefined = all), but in some traces (ordinals) none. */
export interface TaggedSpans {
  readonly query: Query | undefined;
  /** Names the query among what is kept of a source; undefined = its spans are not kept. */
  readonly name?: string | undefined;
  readonly excluded?: Bitset | undefined;
}

/** Calls `found` for the names of each scope; a name may come again. Throws TraceqlError like a search. */
export async function tagNames(
  source: SpanSource,
  scopes: readonly AttributeScope[],
  spans: TaggedSpans,
  found: (scope: AttributeScope, names: readonly string[]) => void,
  signal?: AbortSignal,
): Promise<void> {
  if (source.traceCount === 0) return;
  const matching = spans.query && (await matchingSpans(source, spans.query, spans, signal));
  if (matching?.spans.isEmpty()) return;
  for (const scope of scopes) {
    const owners = matching && (await ownersOf(matching.scan, matching.spans, SCOPE_OWNER[scope]));
    found(scope, await source.attributeNames(scope, owners, signal));
  }
}

/** Adds the values of some fields. Throws TraceqlError like a search. */
export async function tagValues(
  source: SpanSource,
  fields: readonly Field[],
  tagged: TaggedSpans,
  values: ValueSet,
  signal?: AbortSignal,
): Promise<void> {
  if (source.traceCount === 0) return;
  if (tagged.query === undefined) {
    for (const field of fields) values.addVector(await source.distinct(field, signal));
    return;
  }
  const { scan, spans } = await matchingSpans(source, tagged.query, tagged, signal);
  if (spans.isEmpty()) return;
  const rows = await scan.rowsOf(spans);
  for (const field of fields) {
    const vector = await scan.vector(field, rows);
    if (vector.count > 0) values.addVector(vector, await ownersOf(scan, spans, ownerOf(field)));
  }
}

interface MatchingSpans {
  readonly scan: Scan;
  readonly spans: Bitset;
}

/** Not to be changed: they may be kept. */
async function matchingSpans(
  source: SpanSource,
  query: Query,
  { name, excluded }: TaggedSpans,
  signal: AbortSignal | undefined,
): Promise<MatchingSpans> {
  const traces = excluded && Bitset.full(source.traceCount).andNot(excluded);
  const scan = new Scan(source, traces, signal);
  const memo = excluded === undefined && name !== undefined ? source.memo : undefined;
  const kept = memo?.get<Bitset>(`spans/${name}`);
  if (kept !== undefined) return { scan, spans: kept };
  const spans = (await runStages(scan, query.stages)).spans();
  memo?.set(`spans/${name}`, spans, spans.words.byteLength + ENTRY_BYTES);
  return { scan, spans };
}

/** What the spans point at, or own. */
async function ownersOf(scan: Scan, spans: Bitset, owner: Owner): Promise<Bitset> {
  if (owner === 'span') return spans;
  const up = UP[owner];
  if (up === undefined) {
    const spanOf = await scan.relation(owner === 'event' ? 'eventSpan' : 'linkSpan');
    const owned = new Bitset(spanOf.length);
    for (let i = 0; i < spanOf.length; i++) if (spans.has(spanOf[i]!)) owned.add(i);
    return owned;
  }
  const relation = await scan.relation(up);
  let last = -1;
  for (let i = spans.next(0); i >= 0; i = spans.next(i + 1)) if (relation[i]! > last) last = relation[i]!;
  const above = new Bitset(last + 1);
  for (let i = spans.next(0); i >= 0; i = spans.next(i + 1)) above.add(relation[i]!);
  return above;
}
