// What a head consists of: the vectors of its columns, where their chunks are, and how far each is filled.
// Shared by the one writer (builder thread) and all readers (scan threads, block writer). See
// docs/ARCHITECTURE.md.
//
// Buffer: [control: 64 bytes][counts slot 0][counts slot 1][chunk directory][chunks and strings ...].
// A vector's chunk k holds FIRST << k elements, so element i lies in chunk FIRST_ZEROS - clz32(i + FIRST).

/** Element kinds of a vector. `pair` holds two 32-bit words an element (low, high), `quad` four. */
export type VecKind = 'u8' | 'i32' | 'pair' | 'quad';

/** Elements in chunk 0: few, as most tenants of many have small heads. */
export const FIRST = 16;
export const FIRST_ZEROS = Math.clz32(FIRST);
const CHUNKS_MAX = 28;

/**
 * Every vector of a head. Names ending in `Start` give the first entry of an owner in another vector;
 * the owner's last entry is before the next owner's start (or the other vector's count).
 * `str` = an id in the string dictionary (strings: any bytes), -1 = absent. Id 0 is the empty string.
 */
export const HEAD_VECS = {
  // one element a span, in order of arrival
  spanTrace: 'i32', // trace ordinal
  spanPrev: 'i32', // the span before this one in the same trace, -1 = first
  spanResource: 'i32',
  spanScope: 'i32',
  spanId: 'pair', // the 8 bytes, read little-endian
  spanParent: 'pair', // 0,0 = no parent
  spanName: 'i32', // str
  spanKindStatus: 'u8', // see kind-status.ts
  spanStart: 'pair', // unix ns
  spanDuration: 'pair', // end - start in ns, wraps as uint64
  spanTraceState: 'i32', // str or -1
  spanStatusMessage: 'i32', // str or -1
  spanAttrStart: 'i32', // into attrKey/attrValue of the span store
  spanEventStart: 'i32',
  spanLinkStart: 'i32',
  // spans that dropped something, ascending: span, attributes, events, links
  spanDropped: 'quad',
  // spans of an odd kind or status, ascending: span, kind, status, 0
  spanOddKindStatus: 'quad',
  // attributes, one store per owner kind. Key: keyId << 4 | AttrType. Value: see AttrType.
  spanAttrKey: 'i32',
  spanAttrValue: 'i32',
  resourceAttrKey: 'i32',
  resourceAttrValue: 'i32',
  scopeAttrKey: 'i32',
  scopeAttrValue: 'i32',
  eventAttrKey: 'i32',
  eventAttrValue: 'i32',
  linkAttrKey: 'i32',
  linkAttrValue: 'i32',
  // 64-bit payloads of int64 and double attributes (raw little-endian bytes)
  wide: 'pair',
  // events and links, in span order
  eventTime: 'pair', // event time - span start, wraps as uint64
  eventName: 'i32', // str
  eventAttrStart: 'i32',
  eventDropped: 'i32',
  linkTraceId: 'i32', // str (raw bytes)
  linkSpanId: 'i32', // str (raw bytes)
  linkTraceState: 'i32', // str or -1
  linkAttrStart: 'i32',
  linkDropped: 'i32',
  // one element a distinct resource / scope (distinct by their wire bytes)
  resourceService: 'i32', // str of a string service.name, or -1
  resourceAttrStart: 'i32',
  resourceDropped: 'i32',
  scopeName: 'i32', // str
  scopeVersion: 'i32', // str
  scopeAttrStart: 'i32',
  scopeDropped: 'i32',
  // one element a trace, in order of first arrival; the last five change while spans arrive, so they may be
  // ahead of a reader's snapshot (see HeadReader)
  traceId: 'quad', // the 16 bytes (left-padded), read little-endian
  traceLastSpan: 'i32',
  traceSpans: 'i32',
  traceStart: 'pair',
  traceEnd: 'pair',
  traceBytes: 'i32', // wire bytes of its spans
  // dictionaries: byte offset in the buffer and length
  keyOffset: 'i32', // unsigned
  keyLength: 'i32',
  strOffset: 'i32', // unsigned
  strLength: 'i32',
} as const satisfies Record<string, VecKind>;

export type HeadVecName = keyof typeof HEAD_VECS;
export const HEAD_VEC_NAMES = Object.keys(HEAD_VECS) as HeadVecName[];

/** Low 4 bits of an attribute key word: what its value word means. */
export const AttrType = {
  empty: 0, // an AnyValue without a value
  string: 1, // str
  bool: 2, // 0 or 1
  int: 3, // the number itself (fits int32)
  int64: 4, // index into `wide`
  double: 5, // index into `wide`
  // str of the raw AnyValue message bytes; homogeneous scalar arrays by element type, all else `other`
  stringArray: 8,
  boolArray: 9,
  intArray: 10,
  doubleArray: 11,
  emptyArray: 12,
  other: 13, // mixed or nested array, kvlist, bytes
} as const;
export type AttrType = (typeof AttrType)[keyof typeof AttrType];

// Control words (int32 index)
export const CONTROL_VERSION = 0; // publication counter; counts are in slot (version & 1)
export const CONTROL_TRACES = 1; // odd while the changing columns of traces are being written
/** Two words by which a head is told from all others. */
export const CONTROL_BIRTH = 2;
const CONTROL_WORDS = 16;
export const COUNTS_OFFSET_WORDS = CONTROL_WORDS;
const DIRECTORY_OFFSET_WORDS = CONTROL_WORDS + 2 * HEAD_VEC_NAMES.length;
export const HEADER_BYTES = Math.ceil((DIRECTORY_OFFSET_WORDS + HEAD_VEC_NAMES.length * CHUNKS_MAX) / 2) * 8;

/** The word that tells where chunk k of a vector begins. First chunks come first. */
export function directoryWord(index: number, k: number): number {
  return DIRECTORY_OFFSET_WORDS + k * HEAD_VEC_NAMES.length + index;
}

/** 32-bit words (or bytes, for u8) an element takes. */
export function vecWidth(kind: VecKind): number {
  return kind === 'quad' ? 4 : kind === 'pair' ? 2 : 1;
}
