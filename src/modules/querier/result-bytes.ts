// The answer of a search over blocks as bytes, for a cache outside the process: a header, the lengths of its
// arrays, the arrays.
import type { SearchJobResult } from '../../store/scan-job.ts';
import type { AnswerCodec } from './outer-answers.ts';

/** Flags, count of traces, count of arrays. */
const HEADER_BYTES = 12;
const LENGTH_BYTES = 4;
/** Arrays before the chunks. */
const FIXED_ARRAYS = 7;
const HAS_MORE = 1;
const HAS_MATCHED_APART = 2;
const ARE_TIMES_KNOWN = 4;
const ARE_TIMELY = 8;

const NONE = new Uint8Array(0);

export const SEARCH_CODEC: AnswerCodec<SearchJobResult> = { kind: 'search', version: 1, encode, decode };

function encode(result: SearchJobResult): readonly ArrayBufferView[] {
  const { found, matchedApart } = result;
  const arrays: readonly ArrayBufferView[] = [
    found.ids,
    found.starts,
    found.durations,
    found.bodyChunks,
    found.bodyStarts,
    found.bodyEnds,
    matchedApart ?? NONE,
    ...found.chunks,
  ];
  const header = new DataView(new ArrayBuffer(HEADER_BYTES + arrays.length * LENGTH_BYTES));
  header.setUint32(0, flagsOf(result), true);
  header.setUint32(4, found.count, true);
  header.setUint32(8, arrays.length, true);
  arrays.forEach(({ byteLength }, i) => header.setUint32(HEADER_BYTES + i * LENGTH_BYTES, byteLength, true));
  return [header, ...arrays];
}

function flagsOf({ hasMore, matchedApart, areTimely }: SearchJobResult): number {
  return (
    (hasMore ? HAS_MORE : 0) |
    (matchedApart === undefined ? 0 : HAS_MATCHED_APART) |
    (areTimely === undefined ? 0 : ARE_TIMES_KNOWN) |
    (areTimely === true ? ARE_TIMELY : 0)
  );
}

function decode(bytes: Uint8Array): SearchJobResult | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const flags = view.getUint32(0, true);
  const arrays = arraysOf(bytes, view);
  if (arrays === undefined) return undefined;
  const [ids, starts, durations, bodyChunks, bodyStarts, bodyEnds, matchedApart, ...chunks] = arrays;
  return {
    kind: 'search',
    found: {
      count: view.getUint32(4, true),
      ids,
      starts: new BigInt64Array(starts.buffer),
      durations: new BigInt64Array(durations.buffer),
      chunks,
      bodyChunks: new Int32Array(bodyChunks.buffer),
      bodyStarts: new Float64Array(bodyStarts.buffer),
      bodyEnds: new Float64Array(bodyEnds.buffer),
    },
    hasMore: (flags & HAS_MORE) !== 0,
    matchedApart: (flags & HAS_MATCHED_APART) === 0 ? undefined : new Int32Array(matchedApart.buffer),
    ...((flags & ARE_TIMES_KNOWN) === 0 ? {} : { areTimely: (flags & ARE_TIMELY) !== 0 }),
    inspectedTraces: 0,
    inspectedSpans: 0,
    inspectedBytes: 0,
    failures: [],
  };
}

/** Each in memory of its own, so that it may be read in wider numbers. */
function arraysOf(bytes: Uint8Array, view: DataView): Uint8Array<ArrayBuffer>[] | undefined {
  const count = view.getUint32(8, true);
  let at = HEADER_BYTES + count * LENGTH_BYTES;
  if (count < FIXED_ARRAYS || at > bytes.length) return undefined;
  const arrays: Uint8Array<ArrayBuffer>[] = [];
  for (let i = 0; i < count; i++) {
    const length = view.getUint32(HEADER_BYTES + i * LENGTH_BYTES, true);
    arrays.push(new Uint8Array(bytes.subarray(at, at + length)));
    at += length;
  }
  return at === bytes.length ? arrays : undefined;
}
