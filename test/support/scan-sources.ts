// Sources of scan jobs made of test spans.
import { HeadBuilder } from '../../src/block/head/builder.ts';
import { HeadReader } from '../../src/block/head/reader.ts';
import type { BlockMeta } from '../../src/block/meta.ts';
import { type CreateOptions, createBlock } from '../../src/block/vparquet/create.ts';
import type { ObjectStore } from '../../src/objectstore/objectstore.ts';
import type { ScanSource } from '../../src/store/scan-job.ts';
import type { WriteOptions } from './block-rows.ts';
import { encodeTraces, type TestSpan } from './otlp.ts';

function headOf(spans: readonly TestSpan[]): SharedArrayBuffer {
  const head = new HeadBuilder({ maxBytes: 1 << 24 });
  const bytes = encodeTraces(spans);
  head.append(bytes, 0, bytes.length);
  return head.sab;
}

export const asHead = (blockId: string, spans: readonly TestSpan[]): ScanSource => ({
  kind: 'head',
  blockId,
  sab: headOf(spans),
});

/** A block of the spans, put into the store. */
export async function asBlock(
  store: Pick<ObjectStore, 'write'>,
  blockId: string,
  spans: readonly TestSpan[],
  options: Partial<CreateOptions> = {},
  layout: Pick<WriteOptions, 'format' | 'dedicatedColumns'> = {},
): Promise<ScanSource & { readonly meta: BlockMeta }> {
  const objects = new Map<string, Uint8Array[]>();
  const meta = createBlock({
    head: new HeadReader(headOf(spans)),
    blockId,
    tenant: 'team',
    format: layout.format ?? 'vParquet4',
    dedicatedColumns: layout.dedicatedColumns ?? [],
    options,
    sink: {
      create: (name) => {
        const parts: Uint8Array[] = [];
        objects.set(name, parts);
        return { write: (bytes) => void parts.push(bytes.slice()), close: () => {} };
      },
    },
  });
  for (const [name, parts] of objects) {
    await store.write(`team/${blockId}/${name}`, Uint8Array.from(Buffer.concat(parts)));
  }
  return { kind: 'block', meta, location: 'backend' };
}
