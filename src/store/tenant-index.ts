// The tenant index: all block metas of a tenant in one object, as JSON (gzip) and as protobuf (zstd), so that
// whoever polls needs not list. Readers here take the blocks themselves; the files are for real Tempo and
// others.
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { metaToJson } from '../block/meta-json.ts';
import type { BlockMeta } from '../block/meta.ts';
import { ByteWriter } from '../lib/byte-writer.ts';
import type { TenantBlocks } from './blocklist.ts';

export const INDEX_JSON = 'index.json.gz';
export const INDEX_PROTO = 'index.pb.zst';

/** gzip of `{"created_at", "meta": [...], "compacted": [...]}`. */
export function tenantIndexJson(blocks: TenantBlocks, createdMs: number): Uint8Array {
  const meta = [...blocks.live.values()].map((m) => metaToJson(m));
  const compacted = [...blocks.compacted.values()].map((block) => ({
    ...metaToJson(block.meta),
    compactedTime: new Date(block.compactedMs).toISOString(),
  }));
  return gzipSync(JSON.stringify({ created_at: new Date(createdMs).toISOString(), meta, compacted }));
}

/** zstd of the protobuf TenantIndex: 1 created_at, 2 repeated BlockMeta, 3 repeated CompactedBlockMeta. */
export function tenantIndexProto(blocks: TenantBlocks, createdMs: number): Uint8Array {
  const out = new ByteWriter(4096);
  message(out, 1, timestamp(createdMs / 1000));
  for (const meta of blocks.live.values()) message(out, 2, protoMeta(meta));
  for (const block of blocks.compacted.values()) {
    const inner = new ByteWriter();
    message(inner, 1, protoMeta(block.meta));
    message(inner, 2, timestamp(block.compactedMs / 1000));
    message(out, 3, inner.view());
  }
  return zstdCompressSync(out.view());
}

function protoMeta(meta: BlockMeta): Uint8Array {
  const out = new ByteWriter();
  text(out, 1, meta.format);
  message(out, 2, Buffer.from(meta.blockId.replaceAll('-', ''), 'hex'));
  text(out, 5, meta.tenantId);
  message(out, 6, timestamp(meta.startSec));
  message(out, 7, timestamp(meta.endSec));
  number(out, 8, meta.totalObjects);
  number(out, 9, meta.sizeBytes);
  number(out, 10, meta.compactionLevel);
  text(out, 11, 'none');
  number(out, 13, meta.totalRecords);
  number(out, 15, meta.bloomShards);
  number(out, 16, meta.footerSizeBytes);
  const { dedicatedColumns } = metaToJson(meta);
  if (dedicatedColumns !== undefined) text(out, 17, JSON.stringify(dedicatedColumns));
  number(out, 18, meta.replicationFactor);
  return out.copy();
}

function timestamp(unixSec: number): Uint8Array {
  const out = new ByteWriter(24);
  const sec = Math.floor(unixSec);
  number(out, 1, sec);
  number(out, 2, Math.round((unixSec - sec) * 1e9));
  return out.copy();
}

function number(out: ByteWriter, field: number, value: number): void {
  if (value === 0) return;
  out.varint(field << 3);
  out.varint(value);
}

function text(out: ByteWriter, field: number, value: string): void {
  if (value !== '') message(out, field, Buffer.from(value));
}

function message(out: ByteWriter, field: number, bytes: Uint8Array): void {
  out.varint((field << 3) | 2);
  out.varint(bytes.length);
  out.raw(bytes);
}
