// The layout of one frame of the write-ahead log: the same bytes in the ring and in a segment file.
// Everything is little-endian and starts at a multiple of 8.
//
//   0  u32  magic
//   4  u32  crc32 of bytes 8..40
//   8  u32  crc32 of tenant and payload
//  12  u32  payload length
//  16  f64  sequence number, ascending over the whole log
//  24  f64  arrival, unix milliseconds
//  32  u32  spans in the payload
//  36  u16  tenant length
//  38  u8   type
//  39  u8   flags; none is known yet, a frame with one is refused
//  40  tenant (UTF-8), payload, zeros up to a multiple of 8
import { crc32 } from 'node:zlib';

export const FRAME_MAGIC = 0x4d524654; // "TFRM"
/** In the ring only: the rest of the ring is unused, the next frame is at its start. */
export const WRAP_MAGIC = 0x50415257; // "WRAP"
/** In the ring only: so many bytes (u32 at 12) were never written to the log. */
export const SKIP_MAGIC = 0x50494b53; // "SKIP"
export const FRAME_HEADER_BYTES = 40;
export const FRAME_ALIGN = 8;
export const TENANT_BYTES_MAX = 0xffff;

export const FrameType = {
  /** Payload: an ExportTraceServiceRequest. */
  push: 1,
  /** Payload: JSON of a RangeRecord; its block is going to be written. */
  cut: 2,
  /** Payload: JSON of a RangeRecord; its block is complete. */
  completed: 3,
  /** In the ring only: a push whose body was handed over by message; no payload. */
  handedOver: 4,
} as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

export interface FrameHeader {
  readonly payloadCrc: number;
  readonly payloadLength: number;
  readonly sequence: number;
  readonly arrivalMs: number;
  readonly spanCount: number;
  readonly tenantLength: number;
  readonly type: number;
  readonly flags: number;
}

/** The push frames of a tenant with fromSequence < sequence <= toSequence are (going to be) in one block. */
export interface RangeRecord {
  readonly tenant: string;
  readonly blockId: string;
  readonly fromSequence: number;
  readonly toSequence: number;
}

export interface FrameInput {
  readonly type: FrameType;
  readonly sequence: number;
  readonly arrivalMs: number;
  readonly spanCount: number;
  readonly tenant: Uint8Array;
  readonly payload: Uint8Array;
}

export function frameBytes(tenantLength: number, payloadLength: number): number {
  return Math.ceil((FRAME_HEADER_BYTES + tenantLength + payloadLength) / FRAME_ALIGN) * FRAME_ALIGN;
}

/** Writes frames into one buffer; the views are made once. */
export class FrameWriter {
  readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(buffer: ArrayBufferLike) {
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
  }

  /** @returns the offset behind the frame. */
  write(offset: number, frame: FrameInput): number {
    const { view, bytes } = this;
    const { tenant, payload } = frame;
    const end = offset + frameBytes(tenant.length, payload.length);
    const payloadAt = offset + FRAME_HEADER_BYTES + tenant.length;
    view.setUint32(end - 4, 0, true);
    view.setUint32(end - 8, 0, true);
    bytes.set(tenant, offset + FRAME_HEADER_BYTES);
    bytes.set(payload, payloadAt);
    view.setUint32(offset, FRAME_MAGIC, true);
    // The source is warm in the cache: summing it costs less than summing the copy.
    view.setUint32(offset + 8, crc32(payload, crc32(tenant)), true);
    view.setUint32(offset + 12, payload.length, true);
    view.setFloat64(offset + 16, frame.sequence, true);
    view.setFloat64(offset + 24, frame.arrivalMs, true);
    view.setUint32(offset + 32, frame.spanCount, true);
    view.setUint16(offset + 36, tenant.length, true);
    view.setUint16(offset + 38, frame.type, true);
    view.setUint32(offset + 4, crc32(bytes.subarray(offset + 8, offset + FRAME_HEADER_BYTES)), true);
    return end;
  }

  mark(offset: number, magic: number, skippedBytes: number): void {
    this.view.setUint32(offset, magic, true);
    if (magic === SKIP_MAGIC) this.view.setUint32(offset + 12, skippedBytes, true);
  }
}

/** Reads the header at `offset`; undefined when there is none, or a damaged one. */
export function readFrameHeader(bytes: Uint8Array, offset: number): FrameHeader | undefined {
  if (offset + FRAME_HEADER_BYTES > bytes.length) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, FRAME_HEADER_BYTES);
  if (view.getUint32(0, true) !== FRAME_MAGIC) return undefined;
  if (view.getUint32(4, true) !== crc32(bytes.subarray(offset + 8, offset + FRAME_HEADER_BYTES)))
    return undefined;
  return headerFields(view);
}

/** As `readFrameHeader`, for memory that needs no check. */
export function headerFields(view: DataView): FrameHeader {
  return {
    payloadCrc: view.getUint32(8, true),
    payloadLength: view.getUint32(12, true),
    sequence: view.getFloat64(16, true),
    arrivalMs: view.getFloat64(24, true),
    spanCount: view.getUint32(32, true),
    tenantLength: view.getUint16(36, true),
    type: view.getUint8(38),
    flags: view.getUint8(39),
  };
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Types of frames that a segment may hold. */
const STORED_TYPES: ReadonlySet<number> = new Set([FrameType.push, FrameType.cut, FrameType.completed]);

/** False of a sound frame that another version wrote: its meaning is not known here. */
export function isKnownFrame({ type, flags }: FrameHeader): boolean {
  return STORED_TYPES.has(type) && flags === 0;
}

export function encodeRecord(record: RangeRecord): Uint8Array {
  return encoder.encode(JSON.stringify(record));
}

export function decodeRecord(payload: Uint8Array): RangeRecord {
  return JSON.parse(decoder.decode(payload)) as RangeRecord;
}
