// What a querier and an ingester of this program say to each other: what the ingester has of a tenant is
// listed, and stays while the querier has jobs done over it there. A session is one query's; all of them
// share one call of gRPC. The messages are pieces as `src/rpc/structured-pieces.ts` has them.
import type { RemoteFailure } from '../contracts/remote-query.ts';
import type { TimeRange, TraceTable } from '../contracts/recent-traces.ts';
import { TempoError } from '../lib/errors.ts';
import { decodeStructured, encodeStructured } from '../rpc/structured.ts';
import type { ScanJob, ScanResult, ScanSource, TraceTableChanges } from './scan-job.ts';

/** With the version of what is said. */
export const RECENT_PATH = '/recent.v2.Recent/Sessions';

/** A source by its name, as whoever has it knows it. */
export type NamedSource = Pick<ScanSource, 'rowGroups' | 'without' | 'apart' | 'traceCount'> & {
  readonly blockId: string;
};

/** A job whose sources are names; the rest of it is as in a ScanJob of its kind. */
export interface NamedJob {
  readonly kind: ScanJob['kind'];
  readonly sources: readonly NamedSource[];
  readonly rows?: Int32Array;
}

export interface OpenSession {
  readonly kind: 'open';
  readonly tenant: string;
  readonly range: TimeRange;
  /** What the querier knows already: versions of tables by source. */
  readonly known: ReadonlyMap<string, string>;
  /** Of queries that do not look at other traces. */
  readonly needsTables: boolean;
  /** The querier knows signs of life. */
  readonly wantsSigns: boolean;
}

/** Of one session, which the querier numbers. */
export type ToIngester = { readonly session: number } & (
  | OpenSession
  | { readonly kind: 'job'; readonly id: number; readonly job: NamedJob }
  | { readonly kind: 'cancel'; readonly id: number }
  /** Lets go of all. */
  | { readonly kind: 'end' }
);

export interface ListedSource {
  readonly blockId: string;
  readonly version: string;
  readonly spanCount: number;
  /** undefined = as it is known. */
  readonly table: TraceTable | undefined;
  /** What is new since the version that is known, in place of all. */
  readonly changes?: TraceTableChanges | undefined;
}

export type FromIngester = { readonly session: number } & (
  | {
      readonly kind: 'sources';
      readonly sources: readonly ListedSource[];
      readonly complete: boolean;
      readonly partial: readonly string[];
      /** Signs of life come while jobs run. */
      readonly givesSigns?: boolean;
    }
  /** Of all sessions of the call. */
  | { readonly kind: 'alive' }
  | { readonly kind: 'result'; readonly id: number; readonly result: ScanResult }
  /** Of the session when there is no id. */
  | {
      readonly kind: 'failure';
      readonly id: number | undefined;
      readonly failure: RemoteFailure;
      /** The ingester does no jobs any more, though the call still lasts. */
      readonly isLeaving?: boolean;
    }
);

/** All but lists of rows: what an ingester decodes on its main thread, of whoever it is. */
const HEAD_BYTES_MAX = 512 << 10;
const LENGTH_BYTES = 4;
const ROW_BYTES = Int32Array.BYTES_PER_ELEMENT;

/** Numbers of rows are apart: they may be many, and need no decoding. */
export function encodeToIngester(message: ToIngester): Uint8Array {
  const lists: Int32Array[] = [];
  const apart = (rows: Int32Array | undefined): number | undefined =>
    rows === undefined ? undefined : lists.push(rows) - 1;
  const head = encodeStructured({
    said: message.kind === 'job' ? { ...message, job: withRows(message.job, apart) } : message,
    lengths: lists.map(({ length }) => length),
  });
  const parts = lists.map((rows) => new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength));
  const size = new Uint8Array(LENGTH_BYTES);
  new DataView(size.buffer).setUint32(0, head.length, true);
  return Buffer.concat([size, head, ...parts]);
}

/** Throws TempoError for what is no such message. */
export function decodeToIngester(bytes: Uint8Array): ToIngester {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const length = bytes.length < LENGTH_BYTES ? 0 : view.getUint32(0, true);
  if (length > HEAD_BYTES_MAX) {
    throw new TempoError('too_large', `a query of another process has more than ${HEAD_BYTES_MAX} bytes`);
  }
  let at = LENGTH_BYTES + length;
  const head = decodeStructured(bytes.subarray(LENGTH_BYTES, at)) as { said?: unknown; lengths?: unknown };
  const lengths = Array.isArray(head?.lengths) ? (head.lengths as unknown[]) : [];
  const lists = lengths.map((count) => {
    if (!isCount(count) || count * ROW_BYTES > bytes.length - at) throw malformed('rows');
    const rows = new Int32Array(new SharedArrayBuffer(count * ROW_BYTES));
    new Uint8Array(rows.buffer).set(bytes.subarray(at, (at += count * ROW_BYTES)));
    return rows;
  });
  const said = readSaid(head?.said);
  if (said.kind !== 'job') return said;
  const rowsAt = (i: Int32Array | undefined): Int32Array | undefined => {
    if (i === undefined) return undefined;
    return lists[Number(i)] ?? fail('rows');
  };
  return { ...said, job: withRows(said.job, rowsAt) };
}

/** A job with other lists of rows: numbers stand for them on the way. */
function withRows(job: NamedJob, change: (rows: Int32Array | undefined) => unknown): NamedJob {
  const sources = job.sources.map((source) => ({
    ...source,
    ...('without' in source ? { without: change(source.without) } : {}),
    ...('apart' in source ? { apart: change(source.apart) } : {}),
  }));
  return { ...job, sources, ...('rows' in job ? { rows: change(job.rows) } : {}) } as NamedJob;
}

function readSaid(said: unknown): ToIngester {
  const { kind, session, id, job, ...open } = (said ?? {}) as Partial<Record<string, unknown>>;
  if (!isCount(session)) throw malformed('session');
  if (kind === 'end') return { kind, session };
  if (kind === 'open') return { ...readOpen(open), session };
  if (!isCount(id)) throw malformed('id');
  if (kind === 'cancel') return { kind, session, id };
  if (kind !== 'job') throw malformed('kind');
  const { sources } = (job ?? {}) as Partial<NamedJob>;
  const isNamed = (each: unknown): boolean => typeof (each as NamedSource | null)?.blockId === 'string';
  if (!Array.isArray(sources) || !sources.every(isNamed)) throw malformed('job');
  return { kind, session, id, job: job as NamedJob };
}

function readOpen(open: Partial<Record<string, unknown>>): OpenSession {
  const { tenant, range, known, needsTables, wantsSigns } = open;
  if (typeof tenant !== 'string' || tenant === '') throw malformed('tenant');
  const { startSec, endSec } = (range ?? fail('range')) as Partial<TimeRange>;
  for (const sec of [startSec, endSec]) {
    if (sec !== undefined && !Number.isFinite(sec)) throw malformed('range');
  }
  if (!(known instanceof Map)) throw malformed('known');
  return {
    kind: 'open',
    tenant,
    range: { startSec, endSec },
    known: known as Map<string, string>,
    needsTables: needsTables === true,
    wantsSigns: wantsSigns === true,
  };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function malformed(field: string): TempoError {
  return new TempoError('invalid_argument', `a message of a querier has no valid ${field}`);
}

function fail(field: string): never {
  throw malformed(field);
}
