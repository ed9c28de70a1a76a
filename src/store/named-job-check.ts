// What a job of another process may say: whoever can reach the port can send one, and scan threads take
// jobs as they are. Checks kinds, forms and numbers; queries are checked where they are read.
import { TempoError } from '../lib/errors.ts';
import { TRACE_ID_BYTES } from '../model/ids.ts';
import { intervalCount, type MetricsRange } from '../traceql/engine/metrics/range.ts';
import type { NamedJob, NamedSource } from './recent-sessions.ts';

type Test = (value: unknown) => boolean;
type Fields = Readonly<Record<string, Test>>;

/** Intervals are numbered by 32 bits. */
const INTERVALS_MAX = 2 ** 31 - 1;

/** Whole numbers from 0 on. */
const isCount: Test = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const isText: Test = (value) => typeof value === 'string';
const isFlag: Test = (value) => typeof value === 'boolean';
const isRows: Test = (value) => value instanceof Int32Array;
const isSecond: Test = (value) => Number.isSafeInteger(value);
/** Infinity = no limit. */
const isLimit: Test = (value) => typeof value === 'number' && value >= 0;
/** 64 bits, with or without a sign. */
const isNanos: Test = (value) => typeof value === 'bigint' && value >= -(2n ** 63n) && value < 2n ** 64n;

const FIELD: Fields = { kind: oneOf('attribute', 'intrinsic'), name: isText, scope: optional(isText) };

const JOBS: Readonly<Record<string, Fields>> = {
  search: {
    query: isText,
    range: shaped({ startSec: optional(isSecond), endSec: optional(isSecond) }),
    order: optional(shaped({ by: oneOf('start', 'duration'), isDescending: isFlag })),
    after: optional(shaped({ value: isNanos, traceId: isText })),
    notBeforeUnixNano: optional(isNanos),
    limit: isCount,
    spansPerSpanSet: isCount,
    format: oneOf('proto', 'json'),
  },
  trace: {
    id: (value) => value instanceof Uint8Array && value.length === TRACE_ID_BYTES,
    parts: optional(listOf((value) => value instanceof Uint8Array)),
    format: oneOf('proto', 'json', 'llm', 'part'),
    bytesMax: isLimit,
  },
  tagNames: {
    scopes: listOf(oneOf('span', 'resource', 'event', 'link', 'instrumentation')),
    query: optional(isText),
  },
  tagValues: { fields: listOf(shaped(FIELD)), query: optional(isText), bytesMax: isLimit },
  metrics: { query: isText, range: isMetricsRange, samplesMax: isCount, exemplarsMax: isCount },
  traceParts: { rows: isRows, sources: (value) => (value as readonly unknown[]).length === 1 },
};

const SOURCE: Fields = {
  rowGroups: optional((value) => listOf(isCount)(value) && (value as readonly unknown[]).length === 2),
  without: optional(isRows),
  apart: optional(isRows),
  traceCount: optional(isCount),
};

/** Throws TempoError for a job that is not done for other processes. */
export function checkNamedJob(job: NamedJob): void {
  const { kind } = job;
  const fields = typeof kind === 'string' && Object.hasOwn(JOBS, kind) ? JOBS[kind] : undefined;
  // What was brought together is read where it was.
  if (fields === undefined || ('whole' in job && job.whole !== undefined)) {
    throw new TempoError('invalid_argument', `a job ${nameOf(kind)} is not done for others`);
  }
  const wrong = wrongField(job, fields) ?? job.sources.map((each) => wrongField(each, SOURCE)).find(isText);
  if (wrong === undefined) return;
  throw new TempoError('invalid_argument', `a job ${kind} of another process has no valid ${wrong}`);
}

/** What a job says of one of its sources, and nothing else: the source itself is not the caller's to say. */
export function limitsOf({
  rowGroups,
  without,
  apart,
  traceCount,
}: NamedSource): Omit<NamedSource, 'blockId'> {
  return {
    ...(rowGroups === undefined ? {} : { rowGroups }),
    ...(without === undefined ? {} : { without }),
    ...(apart === undefined ? {} : { apart }),
    ...(traceCount === undefined ? {} : { traceCount }),
  };
}

function wrongField(value: object, fields: Fields): string | undefined {
  const found = value as Readonly<Record<string, unknown>>;
  return Object.entries(fields).find(([name, test]) => !test(found[name]))?.[0];
}

function isMetricsRange(value: unknown): boolean {
  if (!shaped({ startUnixNano: isNanos, endUnixNano: isNanos, stepNanos: isNanos })(value)) return false;
  const range = value as MetricsRange;
  if (range.stepNanos <= 0n || range.endUnixNano < range.startUnixNano) return false;
  return intervalCount(range) <= INTERVALS_MAX;
}

function shaped(fields: Fields): Test {
  return (value) => typeof value === 'object' && value !== null && wrongField(value, fields) === undefined;
}

function listOf(test: Test): Test {
  return (value) => Array.isArray(value) && value.every(test);
}

function oneOf(...values: readonly string[]): Test {
  return (value) => values.includes(value as string);
}

function optional(test: Test): Test {
  return (value) => value === undefined || test(value);
}

/** As text of a message. */
function nameOf(kind: unknown): string {
  return typeof kind === 'string' ? JSON.stringify(kind.slice(0, 40)) : 'without a kind';
}
