// How distributors push to the ingesters of other processes: tempopb.Pusher/PushBytesV2, one segment a trace.
// Here are the messages; nothing is sent.
import { ByteWriter } from '../lib/byte-writer.ts';
import { TempoError } from '../lib/errors.ts';
import { TRACE_ID_BYTES } from '../model/ids.ts';
import { type TraceLayout, varintBytes } from '../model/otlp/trace-layout.ts';
import { BYTES, VARINT, WireCursor } from '../model/otlp/wire.ts';

export const PUSH_BYTES_PATH = '/tempopb.Pusher/PushBytesV2';
/** As before segments had times in front: no distributor has used it for years. */
export const OLD_PUSH_BYTES_PATH = '/tempopb.Pusher/PushBytes';

/** tempopb.PushErrorReason. */
export const PushReason = { none: 0, maxLiveTraces: 1, traceTooLarge: 2, unknown: 3 } as const;
export type PushReason = (typeof PushReason)[keyof typeof PushReason];

/** Reasons as pushes to this process's own ingester tell them, and as Tempo counts them. */
export const DISCARD_REASONS: Readonly<Record<Exclude<PushReason, 0>, string>> = {
  [PushReason.maxLiveTraces]: 'live_traces_exceeded',
  [PushReason.traceTooLarge]: 'trace_too_large',
  [PushReason.unknown]: 'unknown_error',
};

const TRACES_TAG = 0x12;
const IDS_TAG = 0x1a;
/** Start and end of a trace in unix seconds, before it. */
const TIMES_BYTES = 8;
/** What `varint` wants free behind the last byte. */
const SLACK_BYTES = 16;

/** Bytes of the segment and id of each trace, in `entryBytes` by trace. @returns their sum. */
export function measureEntries(layout: TraceLayout, entryBytes: Int32Array): number {
  let sum = 0;
  for (let trace = 0; trace < layout.count; trace++) {
    const segment = TIMES_BYTES + layout.measure(trace);
    const bytes = 1 + varintBytes(segment) + segment + 2 + TRACE_ID_BYTES;
    entryBytes[trace] = bytes;
    sum += bytes;
  }
  return sum;
}

/** Bytes that a buffer for `entriesBytes` bytes of entries must have. */
export function bufferBytes(entriesBytes: number): number {
  return entriesBytes + SLACK_BYTES;
}

/** Writes the segments and ids of all traces: the PushBytesRequest of them, and entries of smaller ones. */
export function writeEntries(layout: TraceLayout, body: Uint8Array, buffer: Uint8Array): void {
  const out = new ByteWriter(0);
  out.bytes = buffer;
  for (let trace = 0; trace < layout.count; trace++) {
    const segment = TIMES_BYTES + layout.measure(trace);
    out.bytes[out.length++] = TRACES_TAG;
    out.varint(segment);
    out.u32(layout.startSec(trace));
    out.u32(layout.endSec(trace));
    layout.write(trace, body, out);
    out.bytes[out.length++] = IDS_TAG;
    out.bytes[out.length++] = TRACE_ID_BYTES;
    const id = layout.idAt(trace);
    for (let i = 0; i < TRACE_ID_BYTES; i++) out.bytes[out.length++] = body[id + i]!;
  }
}

/** A PushBytesRequest as it came, made a body for the log in place. */
export interface PushedTraces {
  /** TracesData of all segments, in the memory of the message. */
  readonly body: Uint8Array;
  /** Where the segment of each trace ends in `body`. */
  readonly ends: readonly number[];
}

/**
 * Reads a request. The message is overwritten.
 * @param timesBytes what is before each trace: 8 bytes, or none in the old form.
 * @throws TempoError `invalid_argument`.
 */
export function readPushRequest(message: Uint8Array, timesBytes = TIMES_BYTES): PushedTraces {
  const cursor = new WireCursor(message);
  const ends: number[] = [];
  let ids = 0;
  const end = message.length;
  let length = 0;
  while (cursor.pos < end) {
    const tag = cursor.tag(end);
    const valueEnd = (tag & 7) === BYTES ? cursor.valueEnd(end) : -1;
    const start = cursor.pos;
    if (tag === TRACES_TAG) {
      if (valueEnd - start < timesBytes) throw new TempoError('invalid_argument', 'a trace has no times');
      message.copyWithin(length, start + timesBytes, valueEnd);
      length += valueEnd - start - timesBytes;
      ends.push(length);
    } else if (tag === IDS_TAG) ids++;
    if (valueEnd >= 0) cursor.pos = valueEnd;
    else cursor.skip(tag & 7, end);
  }
  if (ends.length !== ids) {
    throw new TempoError('invalid_argument', `mismatched traces/ids length: ${ends.length}, ${ids}`);
  }
  return { body: message.subarray(0, length), ends };
}

/** @param reasons by trace; undefined = all were kept. */
export function pushResponse(reasons: Uint8Array | undefined): Uint8Array {
  const out = new ByteWriter(0);
  if (reasons !== undefined) {
    out.u8(0x0a);
    out.varint(reasons.length);
    out.raw(reasons);
  }
  return out.copy();
}

/**
 * Reads a PushResponse.
 * @returns reasons by trace; undefined = all were kept.
 */
export function pushReasons(message: Uint8Array): Uint8Array | undefined {
  const cursor = new WireCursor(message);
  const reasons: number[] = [];
  const end = message.length;
  while (cursor.pos < end) {
    const tag = cursor.tag(end);
    if (tag === ((1 << 3) | BYTES)) {
      const valueEnd = cursor.valueEnd(end);
      while (cursor.pos < valueEnd) reasons.push(cursor.varint(valueEnd));
    } else if (tag === ((1 << 3) | VARINT)) reasons.push(cursor.varint(end));
    else cursor.skip(tag & 7, end);
  }
  return reasons.length === 0 ? undefined : Uint8Array.from(reasons, (reason) => Math.min(reason, 3));
}
