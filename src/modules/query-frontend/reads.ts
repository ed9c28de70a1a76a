// What the query API reads, whichever protocol asks: parameters checked, a querier asked, what was read
// counted. The forms of the answers are in *-response.ts.
import { cutIntervals, cutSeconds, type EndCutoff } from '../../api/end-cutoff.ts';
import { type MetricsLimits, parseInstantParams, parseRangeParams } from '../../api/metrics-params.ts';
import {
  parseSearchParams,
  parseTraceParams,
  type SearchLimits,
  type SearchParams,
  type SecondsRange,
  type UrlParams,
} from '../../api/params.ts';
import { parseSummaryParams } from '../../api/summary-params.ts';
import {
  ALL_TAG_SCOPES,
  fieldsOfIdentifier,
  fieldsOfName,
  parseTagParams,
  parseTagScope,
  type TagParams,
  type TagScope,
} from '../../api/tag-params.ts';
import type {
  MetricsAnswer,
  MetricsProgress,
  Querier,
  QueryPart,
  SearchAnswer,
  SearchProgress,
  TraceAnswer,
  TraceFormat,
} from '../../contracts/query.ts';
import { TempoError } from '../../lib/errors.ts';
import { atOnce, inSlices } from '../../lib/slices.ts';
import { splitTenants } from '../../model/tenant.ts';
import { seriesStay } from '../../traceql/engine/metrics/plan.ts';
import { textsOf, type TypedValues } from '../../traceql/engine/value-set.ts';
import { isNewestFirst, NEWEST_FIRST, type TraceOrder } from '../../traceql/engine/order.ts';
import { TraceqlError } from '../../traceql/error.ts';
import { parse } from '../../traceql/parser.ts';
import type { AttributeScope, Field } from '../../traceql/source.ts';
import { validate } from '../../traceql/validate.ts';
import { type AnswerBytes, AnswerLedger, type HeldAnswer } from './answer-ledger.ts';
import { summarize, type Summary } from './metrics-summary.ts';
import { INTRINSIC_TAGS, KEYWORDS } from './tag-lists.ts';
import type { ScopeNames } from './tag-response.ts';

export interface ReadsOptions {
  readonly querier: Querier;
  readonly searchLimits: Omit<SearchLimits, 'latestMs'>;
  /** Longest range of a tenant's searches; 0 = that of `searchLimits`. */
  readonly searchDurationMaxMs: (tenant: string) => number;
  readonly metricsLimits: Omit<MetricsLimits, 'queryBytesMax' | 'nowMs'>;
  /** Longest range of a tenant's metrics queries; 0 = that of `metricsLimits`. */
  readonly metricsDurationMaxMs: (tenant: string) => number;
  /** Of the tag values of one answer; 0 = no limit. */
  readonly tagValueBytesMax: (tenant: string) => number;
  /** Of a trace by id; 0 = no limit. */
  readonly traceBytesMax: (tenant: string) => number;
  /** Of traces that are sent, and metrics summaries that are made or sent; more are refused. */
  readonly answerBytes: AnswerBytes;
  readonly endCutoff: EndCutoff;
  /** How far back recent spans are asked at all. */
  readonly recentMs: number;
  readonly nowMs: () => number;
}

/** One request of one caller. */
export interface ReadCall {
  /** Several are joined by `|`. */
  readonly tenant: string;
  readonly params: UrlParams;
  readonly signal: AbortSignal;
  /** What the call made us read so far. */
  readonly seen: { bytes: number };
  /** Of a sub-request: it is about this part of the data only. */
  readonly part?: QueryPart | undefined;
}

export type Op = 'traces' | 'search' | 'metadata' | 'metrics';

export interface FoundTrace {
  readonly answer: TraceAnswer;
  readonly bytesMax: number;
}

/** Gets a way to ask for what was found since it was asked for, as an answer has it. */
export type OnProgress<Found> = (take: () => Found) => void;

export interface Wishes<Found> {
  readonly onProgress?: OnProgress<Found>;
  /** The answer tells what was read. */
  readonly isExplained?: boolean;
}

export interface FoundSearch {
  /** In TraceQL. */
  readonly query: string;
  readonly answer: SearchAnswer;
  /** The query was made of tags: the answer names traces, without spans. */
  readonly isTagSearch: boolean;
  /** undefined = newest first. */
  readonly order: TraceOrder | undefined;
}

export interface FoundMetrics {
  /** In TraceQL. */
  readonly query: string;
  readonly answer: MetricsAnswer;
  readonly isInstant: boolean;
  readonly seriesMax: number;
}

/** A metrics query while it runs. */
export interface MetricsSoFar {
  /** Without series. */
  readonly found: FoundMetrics;
  /** Those of what was read so far; undefined = none that a reader has use for. */
  readonly series: () => Promise<readonly Uint8Array[] | undefined>;
}

export interface FoundNames {
  readonly scopes: readonly ScopeNames[];
  readonly inspectedBytes: number;
  readonly partial: readonly string[];
}

export interface FoundAllNames extends FoundNames {
  readonly names: readonly string[];
}

export interface FoundValues {
  readonly types: readonly TypedValues[];
  readonly inspectedBytes: number;
  readonly partial: readonly string[];
}

export interface FoundPlainValues extends FoundValues {
  readonly texts: readonly string[];
}

const NANOS_PER_SECOND = 1e9;
const ANSWERS = { one: 'a trace or metrics summary', all: 'traces and metrics summaries' };

export class Reads {
  private readonly options: ReadsOptions;
  private readonly answers: AnswerLedger;

  constructor(options: ReadsOptions) {
    this.options = options;
    this.answers = new AnswerLedger(options.answerBytes, ANSWERS);
  }

  /** Of traces and metrics summaries. */
  get bytesHeld(): number {
    return this.answers.bytesHeld;
  }

  async trace(call: ReadCall, id: Uint8Array, format: TraceFormat): Promise<FoundTrace> {
    const { querier, traceBytesMax } = this.options;
    const bytesMax = traceBytesMax(call.tenant);
    const params = parseTraceParams(call.params);
    const query = { tenant: call.tenant, id, ...params, bytesMax, format };
    const answer = await querier.findTrace(query, call.signal);
    call.seen.bytes += answer.inspectedBytes;
    this.countUntilSent(call).hold(answer.trace?.length ?? 0);
    return { answer, bytesMax };
  }

  async search(
    call: ReadCall,
    format: 'proto' | 'json',
    { onProgress, isExplained = false }: Wishes<FoundSearch> = {},
  ): Promise<FoundSearch> {
    const { querier, searchLimits, searchDurationMaxMs } = this.options;
    const durationMaxMs = searchDurationMaxMs(call.tenant) || searchLimits.durationMaxMs;
    const limits = { ...searchLimits, durationMaxMs, latestMs: this.latestMs() };
    const isSubRequest = call.part !== undefined;
    const { isTagSearch, ...params } = parseSearchParams(call.params, limits, isSubRequest);
    checkQuery(params.query);
    const spansPerSpanSet = isTagSearch ? 1 : params.spansPerSpanSet;
    const range = remainingRange({ ...params, range: this.beforeCutoff(params.range, call) });
    const asked = { ...partOf(call), tenant: call.tenant, ...params, range, spansPerSpanSet, format };
    const query = isExplained ? { ...asked, isExplained } : asked;
    const form = { query: params.query, isTagSearch, order: params.order };
    const tell = telling(onProgress, (progress: SearchProgress): FoundSearch => {
      const { stats } = progress;
      return { ...form, answer: { traces: progress.takeSettled(), stats, hasMore: false, partial: [] } };
    });
    const answer = await querier.search(query, call.signal, tell);
    call.seen.bytes += answer.stats.inspectedBytes;
    return { ...form, answer };
  }

  /** @param isInstant asks for one value of each series and not for one at every step. */
  async metrics(
    call: ReadCall,
    isInstant: boolean,
    format: 'proto' | 'json',
    { onProgress, isExplained = false }: Wishes<MetricsSoFar> = {},
  ): Promise<FoundMetrics> {
    const { querier } = this.options;
    const limits = this.metricsLimits(call.tenant);
    const given = (isInstant ? parseInstantParams : parseRangeParams)(call.params, limits);
    // A part was cut by the frontend that asks for it.
    const cutoffMs = call.part === undefined ? this.options.endCutoff.cutoffMs : 0;
    const params = { ...given, ...cutIntervals(given, cutoffMs, limits.nowMs) };
    const form = { query: params.query, isInstant, seriesMax: params.seriesMax };
    const asked = { ...partOf(call), tenant: call.tenant, ...params, isInstant, format };
    const query = isExplained ? { ...asked, isExplained } : asked;
    const isGrowing = seriesStay(parse(params.query));
    const tell = telling(
      onProgress,
      (progress: MetricsProgress): MetricsSoFar => ({
        found: { ...form, answer: { series: [], isCut: false, stats: progress.stats, partial: [] } },
        series: async () => (isGrowing ? progress.seriesSoFar() : undefined),
      }),
    );
    const answer = await querier.metrics(query, call.signal, tell);
    call.seen.bytes += answer.stats.inspectedBytes;
    return { ...form, answer };
  }

  async metricsSummary(call: ReadCall): Promise<Summary> {
    const params = parseSummaryParams(call.params, this.metricsLimits(call.tenant));
    if (splitTenants(call.tenant).length > 1) {
      throw new TempoError('invalid_argument', 'multi-tenant query unsupported');
    }
    const held = this.countUntilSent(call);
    const summary = await summarize(this.options.querier, call.tenant, params, call.signal, held);
    call.seen.bytes += summary.inspectedBytes;
    return summary;
  }

  /** The signal of a query is raised when its answer has been sent, if not before. */
  private countUntilSent({ signal }: ReadCall): HeldAnswer {
    const held = this.answers.open();
    if (signal.aborted) held.close();
    signal.addEventListener('abort', () => held.close(), { once: true });
    return held;
  }

  /**
   * Of every scope its names, and of all together; intrinsics only where they are asked for.
   *
   * @param onProgress as that of a search, here and below; without use where there is a limit.
   */
  async allNames(call: ReadCall, onProgress?: OnProgress<FoundAllNames>): Promise<FoundAllNames> {
    const attributeScopes = ALL_TAG_SCOPES.filter((scope) => scope !== 'intrinsic');
    const form = (found: FoundNames, limit: number): FoundAllNames => {
      const names = [...new Set(found.scopes.flatMap(({ tags }) => tags))].sort();
      return { ...found, names: limited(names, limit) };
    };
    return this.names(call, attributeScopes, form, onProgress);
  }

  /** By scope; scopes without a name are left out. */
  async namesByScope(call: ReadCall, onProgress?: OnProgress<FoundNames>): Promise<FoundNames> {
    const form = (found: FoundNames, limit: number): FoundNames => {
      const scopes = found.scopes
        .filter(({ tags }) => tags.length > 0)
        .map(({ name, tags }) => ({ name, tags: name === 'intrinsic' ? tags : limited(tags, limit) }));
      return { ...found, scopes };
    };
    return this.names(call, ALL_TAG_SCOPES, form, onProgress);
  }

  /** v1: the values of an attribute of any scope, without their types. */
  async plainValues(
    call: ReadCall,
    name: string,
    onProgress?: OnProgress<FoundPlainValues>,
  ): Promise<FoundPlainValues> {
    const tell = telling(onProgress, (take: () => FoundValues): FoundPlainValues => {
      const found = take();
      return { ...found, texts: atOnce(textsOf(found.types)) };
    });
    const { found, limit } = await this.values(call, fieldsOfName(name), tell);
    return { ...found, texts: limited(await inSlices(textsOf(found.types)), limit) };
  }

  /** v2: the values behind a TraceQL identifier. */
  async typedValues(
    call: ReadCall,
    identifier: string,
    onProgress?: OnProgress<FoundValues>,
  ): Promise<FoundValues> {
    const { found, limit } = await this.values(call, fieldsOfIdentifier(identifier), onProgress);
    return { ...found, types: limitedTypes(found.types, limit) };
  }

  private async names<Found>(
    { tenant, params, signal, seen, part }: ReadCall,
    usualScopes: readonly TagScope[],
    form: (found: FoundNames, limit: number) => Found,
    onProgress: OnProgress<Found> | undefined,
  ): Promise<Found> {
    const scopes = parseTagScope(params) ?? usualScopes;
    const { filter, range, limit } = this.tagParams({ params, part });
    const stored = scopes.filter((scope): scope is AttributeScope => scope !== 'intrinsic');
    const intrinsics = scopes.includes('intrinsic') ? [{ name: 'intrinsic', tags: INTRINSIC_TAGS }] : [];
    if (stored.length === 0 || filter.kind === 'none') {
      return form({ scopes: intrinsics, inspectedBytes: 0, partial: [] }, limit);
    }
    const foundOf = (
      names: readonly (readonly string[])[],
      rest: Omit<FoundNames, 'scopes'>,
    ): FoundNames => ({
      ...rest,
      scopes: [...stored.map((name, i) => ({ name, tags: names[i]! })), ...intrinsics],
    });
    const query = filter.kind === 'some' ? filter.query : undefined;
    const { names, inspectedBytes, partial } = await this.options.querier.tagNames(
      { ...partOf({ part }), tenant, scopes: stored, query, range },
      signal,
      ifUnlimited(limit, onProgress, (progress) => {
        const rest = { inspectedBytes: progress.inspectedBytes, partial: [] };
        return form(foundOf(progress.takeNames(), rest), limit);
      }),
    );
    seen.bytes += inspectedBytes;
    return form(foundOf(names, { inspectedBytes, partial }), limit);
  }

  private async values(
    { tenant, params, signal, seen, part }: ReadCall,
    fields: readonly Field[],
    onProgress: OnProgress<FoundValues> | undefined,
  ): Promise<{ readonly found: FoundValues; readonly limit: number }> {
    const { filter, range, limit } = this.tagParams({ params, part });
    const known = this.keywords(fields, range.endSec);
    if (known !== undefined || fields.length === 0 || filter.kind === 'none') {
      return { found: { types: known ?? [], inspectedBytes: 0, partial: [] }, limit };
    }
    const bytesMax = this.options.tagValueBytesMax(tenant);
    const query = filter.kind === 'some' ? filter.query : undefined;
    const { values, inspectedBytes, partial } = await this.options.querier.tagValues(
      { ...partOf({ part }), tenant, fields, query, range, bytesMax: bytesMax > 0 ? bytesMax : Infinity },
      signal,
      ifUnlimited(limit, onProgress, (progress) => ({
        types: progress.takeTypes(),
        inspectedBytes: progress.inspectedBytes,
        partial: [],
      })),
    );
    seen.bytes += inspectedBytes;
    return { found: { types: values.types, inspectedBytes, partial }, limit };
  }

  /**
   * Statuses and kinds are words of the language. A range that only blocks can answer gives the numbers that
   * those store, as in Tempo.
   */
  private keywords(fields: readonly Field[], endSec: number | undefined): readonly TypedValues[] | undefined {
    const [field] = fields;
    if (field?.kind !== 'intrinsic') return undefined;
    const values = KEYWORDS[field.name];
    const isRecent = endSec === undefined || endSec * 1000 > this.options.nowMs() - this.options.recentMs;
    return values !== undefined && isRecent ? [{ type: 'keyword', values }] : undefined;
  }

  private metricsLimits(tenant: string): MetricsLimits {
    const { metricsLimits, metricsDurationMaxMs, searchLimits, nowMs } = this.options;
    const durationMaxMs = metricsDurationMaxMs(tenant) || metricsLimits.durationMaxMs;
    return { ...metricsLimits, durationMaxMs, queryBytesMax: searchLimits.queryBytesMax, nowMs: nowMs() };
  }

  private tagParams({ params: given, part }: Pick<ReadCall, 'params' | 'part'>): TagParams {
    const { searchLimits, nowMs } = this.options;
    const { durationMaxMs, queryBytesMax } = searchLimits;
    const latestMs = this.latestMs();
    const params = parseTagParams(given, { durationMaxMs, queryBytesMax, nowMs: nowMs(), latestMs });
    return { ...params, range: this.beforeCutoff(params.range, { part }) };
  }

  /** What is newer is not asked for. */
  private latestMs(): number {
    return this.options.nowMs() - this.options.endCutoff.cutoffMs;
  }

  private beforeCutoff(range: SecondsRange, { part }: Pick<ReadCall, 'part'>): SecondsRange {
    return part === undefined ? cutSeconds(range, this.options.endCutoff, this.options.nowMs()) : range;
  }
}

/** Refuses what the engine would refuse, before any data is read. */
function checkQuery(text: string): void {
  try {
    validate(parse(text));
  } catch (err) {
    if (!(err instanceof TraceqlError)) throw err;
    throw new TempoError('invalid_argument', `invalid TraceQL query: ${err.message}`, err);
  }
}

/** What began after the traces that were shown need not be looked at. */
function remainingRange({
  range,
  order,
  after,
}: Pick<SearchParams, 'range' | 'order' | 'after'>): SearchParams['range'] {
  if (after === undefined || range.endSec === undefined || !isNewestFirst(order ?? NEWEST_FIRST))
    return range;
  const lastSec = Math.ceil(Number(after.value) / NANOS_PER_SECOND);
  return { ...range, endSec: Math.min(range.endSec, lastSec) };
}

function partOf({ part }: Pick<ReadCall, 'part'>): { readonly part?: QueryPart } {
  return part === undefined ? {} : { part };
}

/** The first in order are wanted where there is a limit, and these are known in the end only. */
function ifUnlimited<Progress, Found>(
  limit: number,
  onProgress: OnProgress<Found> | undefined,
  found: (progress: Progress) => Found,
): ((progress: Progress) => void) | undefined {
  return limit > 0 ? undefined : telling(onProgress, found);
}

/** undefined where nobody wants to know: a querier of another process sends then the answer only. */
function telling<Progress, Found>(
  onProgress: OnProgress<Found> | undefined,
  found: (progress: Progress) => Found,
): ((progress: Progress) => void) | undefined {
  return onProgress && ((progress) => onProgress(() => found(progress)));
}

function limited(texts: readonly string[], limit: number): readonly string[] {
  return limit > 0 ? texts.slice(0, limit) : texts;
}

function limitedTypes(types: readonly TypedValues[], limit: number): readonly TypedValues[] {
  if (limit === 0) return types;
  let left = limit;
  const kept: TypedValues[] = [];
  for (const { type, values } of types) {
    if (left === 0) break;
    kept.push({ type, values: values.slice(0, left) });
    left -= Math.min(left, values.length);
  }
  return kept;
}
