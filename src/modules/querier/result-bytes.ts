// The answer of a search over blocks as bytes: a header, the lengths of its arrays, the arrays, little-
// endian. Whatever is not exactly such bytes is no answer, and under another name it is none either.
import { crc32 } from 'node:zlib';
import type { SearchJobResult } from '../../store/scan-job.ts';

const MAGIC = 0x31_6a_73_74;
/** Magic, checksum of its name and of what follows, flags, count of traces, count of arrays. */
const HEADER_BYTES = 20;
const CHECKED_FROM = 8;
const LENGTH_BYTES = 4;
/** Arrays before the chunks. */
const FIXED_ARRAYS = 7;
const HAS_MORE = 1;
const HAS_MATCHED_APART = 2;
const ARE_TIMES_KNOWN = 4;
const ARE_TIMELY = 8;

const NONE = new Uint8Array(0);

/** @returns undefined when it takes more than `bytesMax`. */
export function encodeSearchResult(
  name: string,
  result: SearchJobResult,
  bytesMax: number,
): Uint8Array | undefined {
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
  const size = arrays.reduce((sum, { byteLength }) => sum + LENGTH_BYTES + byteLength, HEADER_BYTES);
  if (size > bytesMax) return undefined;
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(8, flagsOf(result), true);
  view.setUint32(12, found.count, true);
  view.setUint32(16, arrays.length, true);
  let at = HEADER_BYTES + arrays.length * LENGTH_BYTES;
  arrays.forEach((array, i) => {
    view.setUint32(HEADER_BYTES + i * LENGTH_BYTES, array.byteLength, true);
    bytes.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), at);
    at += array.byteLength;
  });
  view.setUint32(4, checksumOf(name, bytes), true);
  return bytes;
}

function flagsOf({ hasMore, matchedApart, areTimely }: SearchJobResult): number {
  return (
    (hasMore ? HAS_MORE : 0) |
    (matchedApart === undefined ? 0 : HAS_MATCHED_APART) |
    (areTimely === undefined ? 0 : ARE_TIMES_KNOWN) |
    (areTimely === true ? ARE_TIMELY : 0)
  );
}

function checksumOf(name: string, bytes: Uint8Array): number {
  return crc32(bytes.subarray(CHECKED_FROM), crc32(name));
}

/** @returns undefined when these are not the bytes of the answer of that name. */
export function decodeSearchResult(name: string, bytes: Uint8Array): SearchJobResult | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isOurs = view.getUint32(0, true) === MAGIC;
  if (!isOurs || view.getUint32(4, true) !== checksumOf(name, bytes)) return undefined;
  const flags = view.getUint32(8, true);
  const arrays = arraysOf(bytes, view);
  if (arrays === undefined) return undefined;
  const [ids, starts, durations, bodyChunks, bodyStarts, bodyEnds, matchedApart, ...chunks] = arrays;
  return {
    kind: 'search',
    found: {
      count: view.getUint32(12, true),
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
  const count = view.getUint32(16, true);
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
