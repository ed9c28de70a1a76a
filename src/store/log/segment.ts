// Segment files of the write-ahead log: their names, their head, and reading them back. Reading trusts
// nothing: what does not add up is told, and the next frame that does is searched for.
import { Buffer } from 'node:buffer';
import * as fs from 'node:fs';
import { crc32 } from 'node:zlib';
import { TempoError } from '../../lib/errors.ts';
import {
  FRAME_ALIGN,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  frameBytes,
  FrameType,
  isKnownFrame,
  readFrameHeader,
} from './frame.ts';
import type { FrameHeader } from './frame.ts';

const MAGIC = Buffer.from('TEMPOLOG');
export const SEGMENT_HEAD_BYTES = 16;
/**
 * The head is `TEMPOLOG`, the format (u8), three bytes of flags, and in all formats but 1 the CRC-32 of these
 * twelve bytes, so that damage to the head is not taken for another format. Which format is written is a
 * setting, by default one that the version before can read.
 */
export const LOG_FORMATS = [1, 2] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];
const CHECKED_BYTES = 12;
/**
 * Must never look like a WAL folder of Tempo (`<uuid>+<tenant>+<version>`), which Tempo would replay and
 * delete.
 */
const NAME = /^tempo-log-(\d{10,})\.seg$/;

export function segmentName(number: number): string {
  return `tempo-log-${String(number).padStart(10, '0')}.seg`;
}

export function isLogFormat(value: number): value is LogFormat {
  return (LOG_FORMATS as readonly number[]).includes(value);
}

/** What is not known counts as the first. */
export function logFormatOf(value: number | undefined): LogFormat {
  return value !== undefined && isLogFormat(value) ? value : LOG_FORMATS[0];
}

export function segmentHead(format: LogFormat): Buffer {
  const head = Buffer.alloc(SEGMENT_HEAD_BYTES);
  MAGIC.copy(head);
  head.writeUInt8(format, MAGIC.length);
  if (format > 1) head.writeUInt32LE(crc32(head.subarray(0, CHECKED_BYTES)), CHECKED_BYTES);
  return head;
}

export interface SegmentFile {
  readonly number: number;
  readonly path: string;
}

/** Segment files of a folder, oldest first. */
export function listSegments(folder: string): SegmentFile[] {
  return fs
    .readdirSync(folder)
    .flatMap((name) => {
      const number = NAME.exec(name)?.[1];
      return number === undefined ? [] : [{ number: Number(number), path: `${folder}/${name}` }];
    })
    .toSorted((a, b) => a.number - b.number);
}

export interface SegmentFrame {
  readonly header: FrameHeader;
  readonly tenant: string;
  /** A view that is valid during the visit; empty for push frames when only records are read. */
  readonly payload: Uint8Array;
}

export interface SegmentReport {
  readonly sizeBytes: number;
  /** Nothing that can be read follows this offset. */
  readonly tornAt: number | undefined;
  /** Stretches in the middle that cannot be read. */
  readonly corrupt: readonly { readonly offset: number; readonly bytes: number }[];
}

/** `records`: bodies of pushes are neither read nor checked. */
export type ReadDepth = 'records' | 'all';

/**
 * Calls `visit` with every frame of the file that can be read, in order; it stops when `visit` answers false.
 * Throws TempoError `unimplemented` when the file, or a sound frame in it, is of a kind that is not known.
 */
export function readSegment(
  path: string,
  depth: ReadDepth,
  visit: (frame: SegmentFrame) => boolean | undefined,
): SegmentReport {
  const file = new FileWindow(path, depth === 'all' ? 1024 * 1024 : 4096);
  try {
    return new SegmentReader(path, file, depth, visit).read();
  } finally {
    file.close();
  }
}

/** Random reads of a file through one buffer. */
class FileWindow {
  readonly sizeBytes: number;
  private readonly fd: number;
  private readonly readBytesMin: number;
  private buffer = Buffer.alloc(0);
  private start = 0;
  private filled = 0;

  constructor(path: string, readBytesMin: number) {
    this.fd = fs.openSync(path, 'r');
    this.readBytesMin = readBytesMin;
    this.sizeBytes = fs.fstatSync(this.fd).size;
  }

  /** A view of [offset, offset + length), cut at the end of the file; valid until the next call. */
  view(offset: number, length: number): Buffer {
    const end = Math.min(offset + length, this.sizeBytes);
    if (offset < this.start || end > this.start + this.filled) this.fill(offset, end - offset);
    return this.buffer.subarray(offset - this.start, Math.min(end, this.start + this.filled) - this.start);
  }

  close(): void {
    fs.closeSync(this.fd);
  }

  private fill(offset: number, length: number): void {
    const wanted = Math.min(Math.max(length, this.readBytesMin), this.sizeBytes - offset);
    if (this.buffer.length < wanted) this.buffer = Buffer.allocUnsafeSlow(wanted);
    this.start = offset;
    this.filled = 0;
    while (this.filled < wanted) {
      const got = fs.readSync(this.fd, this.buffer, this.filled, wanted - this.filled, offset + this.filled);
      if (got === 0) return;
      this.filled += got;
    }
  }
}

class SegmentReader {
  private readonly path: string;
  private readonly file: FileWindow;
  private readonly depth: ReadDepth;
  private readonly visit: (frame: SegmentFrame) => boolean | undefined;
  private readonly corrupt: { offset: number; bytes: number }[] = [];

  constructor(
    path: string,
    file: FileWindow,
    depth: ReadDepth,
    visit: (frame: SegmentFrame) => boolean | undefined,
  ) {
    this.path = path;
    this.file = file;
    this.depth = depth;
    this.visit = visit;
  }

  read(): SegmentReport {
    const sizeBytes = this.file.sizeBytes;
    if (sizeBytes < SEGMENT_HEAD_BYTES) return { sizeBytes, tornAt: 0, corrupt: [] };
    this.checkHead();
    let at = SEGMENT_HEAD_BYTES;
    let tornAt: number | undefined;
    while (at < sizeBytes) {
      const header = this.headerAt(at);
      if (header !== undefined) {
        const next = this.frameAt(at, header);
        if (next === undefined) break;
        at = next;
        continue;
      }
      const next = this.nextFrame(at + FRAME_ALIGN);
      if (next === undefined) {
        tornAt = at;
        break;
      }
      this.corrupt.push({ offset: at, bytes: next - at });
      at = next;
    }
    return { sizeBytes, tornAt, corrupt: this.corrupt };
  }

  private checkHead(): void {
    const head = this.file.view(0, SEGMENT_HEAD_BYTES);
    if (!head.subarray(0, MAGIC.length).equals(MAGIC)) {
      // A damaged head hides no frames: they are searched for like behind any damage.
      this.corrupt.push({ offset: 0, bytes: SEGMENT_HEAD_BYTES });
      return;
    }
    const format = head.readUInt8(MAGIC.length);
    if (format === 1) return;
    if (head.readUInt32LE(CHECKED_BYTES) !== crc32(head.subarray(0, CHECKED_BYTES))) {
      this.corrupt.push({ offset: 0, bytes: SEGMENT_HEAD_BYTES });
      return;
    }
    if (!isLogFormat(format)) throw this.notKnown(`has format ${format}`);
    const flags = head.readUIntLE(MAGIC.length + 1, CHECKED_BYTES - MAGIC.length - 1);
    if (flags !== 0) throw this.notKnown(`has flags ${flags}`);
  }

  /** What another version wrote is neither cut nor passed over. */
  private notKnown(what: string): TempoError {
    return new TempoError(
      'unimplemented',
      `log segment ${this.path} ${what}, which this version does not know ` +
        `(it reads formats ${LOG_FORMATS.join(', ')}): start the version that wrote it, flush, and start ` +
        'this one again',
    );
  }

  /** The header at `at` when it is sound and its frame lies within the file. */
  private headerAt(at: number): FrameHeader | undefined {
    const header = readFrameHeader(this.file.view(at, FRAME_HEADER_BYTES), 0);
    if (header === undefined) return undefined;
    return at + frameBytes(header.tenantLength, header.payloadLength) <= this.file.sizeBytes
      ? header
      : undefined;
  }

  /** Visits the frame; answers where the next one is, or undefined to stop. */
  private frameAt(at: number, header: FrameHeader): number | undefined {
    const { tenantLength, payloadLength } = header;
    const size = frameBytes(tenantLength, payloadLength);
    const payloadAt = FRAME_HEADER_BYTES + tenantLength;
    const whole = this.depth === 'all' || header.type !== FrameType.push;
    const bytes = this.file.view(at, whole ? payloadAt + payloadLength : payloadAt);
    if (whole && crc32(bytes.subarray(FRAME_HEADER_BYTES)) !== header.payloadCrc) {
      this.corrupt.push({ offset: at, bytes: size });
      return at + size;
    }
    if (!isKnownFrame(header)) {
      const { type, flags } = header;
      throw this.notKnown(`has a frame of type ${type} with flags ${flags} at byte ${at}`);
    }
    const tenant = bytes.toString('utf8', FRAME_HEADER_BYTES, payloadAt);
    return this.visit({ header, tenant, payload: bytes.subarray(payloadAt) }) === false
      ? undefined
      : at + size;
  }

  /** Offset of the first frame at or behind `from` that is sound with its payload. */
  private nextFrame(from: number): number | undefined {
    for (let at = from; at + FRAME_HEADER_BYTES <= this.file.sizeBytes; at += FRAME_ALIGN) {
      if (this.file.view(at, 4).readUInt32LE(0) !== FRAME_MAGIC) continue;
      const header = this.headerAt(at);
      if (header === undefined) continue;
      const bytes = this.file.view(at, FRAME_HEADER_BYTES + header.tenantLength + header.payloadLength);
      if (crc32(bytes.subarray(FRAME_HEADER_BYTES)) === header.payloadCrc) return at;
    }
    return undefined;
  }
}
