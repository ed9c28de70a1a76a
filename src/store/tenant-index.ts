// The tenant index: all block metas of a tenant in one object, as JSON (gzip) and as protobuf (zstd), so that
// whoever polls needs not list. Readers here take the blocks themselves; the files are for real Tempo and
// others.
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { metaToJson } from '../block/meta-json.ts';
import type { BlockMeta } from '../block/meta.ts';
import { ByteWriter } from '../lib/byte-writer.ts';
import { bytesField, textField, varintField } from '../lib/protobuf.ts';
import type { TenantBlocks } from './blocklist.ts';

export const INDEX_JSON = 'index.json.gz';
export const INDEX_PROTO = 'index.pb.zst';

/**
 * Who writes the index of a tenant: so many of those that share the upkeep, each the owner of one of the keys
 * that Tempo makes of it.
 *
 * @param share undefined = this process has the upkeep to itself.
 */
export function indexOwner(
  share: { readonly owns: (key: string) => boolean } | undefined,
  builders: number,
): (tenant: string) => boolean {
  const numbers = Array.from({ length: Math.max(0, builders) }, (_, i) => i);
  return (tenant) =>
    numbers.some((i) => share === undefined || share.owns(`build-tenant-index-${i}-${tenant}`));
}

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
  bytesField(out, 1, timestamp(createdMs / 1000));
  for (const meta of blocks.live.values()) bytesField(out, 2, protoMeta(meta));
  for (const block of blocks.compacted.values()) {
    const inner = new ByteWriter();
    bytesField(inner, 1, protoMeta(block.meta));
    bytesField(inner, 2, timestamp(block.compactedMs / 1000));
    bytesField(out, 3, inner.view());
  }
  return zstdCompressSync(out.view());
}

function protoMeta(meta: BlockMeta): Uint8Array {
  const out = new ByteWriter();
  textField(out, 1, meta.format);
  bytesField(out, 2, Buffer.from(meta.blockId.replaceAll('-', ''), 'hex'));
  textField(out, 5, meta.tenantId);
  bytesField(out, 6, timestamp(meta.startSec));
  bytesField(out, 7, timestamp(meta.endSec));
  varintField(out, 8, meta.totalObjects);
  varintField(out, 9, meta.sizeBytes);
  varintField(out, 10, meta.compactionLevel);
  textField(out, 11, 'none');
  varintField(out, 13, meta.totalRecords);
  varintField(out, 15, meta.bloomShards);
  varintField(out, 16, meta.footerSizeBytes);
  const { dedicatedColumns } = metaToJson(meta);
  if (dedicatedColumns !== undefined) textField(out, 17, JSON.stringify(dedicatedColumns));
  varintField(out, 18, meta.replicationFactor);
  return out.copy();
}

function timestamp(unixSec: number): Uint8Array {
  const out = new ByteWriter(24);
  const sec = Math.floor(unixSec);
  varintField(out, 1, sec);
  varintField(out, 2, Math.round((unixSec - sec) * 1e9));
  return out.copy();
}
