// The value filter of blocks that are joined, of theirs: while few bits are set nothing is hashed again.
import { TempoError } from '../../lib/errors.ts';
import { VALUE_FILTER_NAME } from '../meta.ts';
import { filterBits } from '../value-filter/format.ts';
import { joinedBits } from '../value-filter/joined.ts';
import type { Block } from '../vparquet/open.ts';

/** Its bits; undefined = it has to be made of the values. */
export async function joinedFilter(
  inputs: readonly Block[],
  bytesMax: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array | undefined> {
  const filters: Uint8Array[] = [];
  for (const input of inputs) {
    const bits = await bitsOf(input, signal);
    if (bits === undefined || bits.length > bytesMax) return undefined;
    filters.push(bits);
  }
  return joinedBits(filters, bytesMax);
}

/** undefined = it has none, or none that can be read and trusted: what it knows is in the data too. */
async function bitsOf(
  { meta, readObject }: Block,
  signal: AbortSignal | undefined,
): Promise<Uint8Array | undefined> {
  const { valueFilterBytes = 0, blockId } = meta;
  if (valueFilterBytes === 0 || readObject === undefined) return undefined;
  try {
    const object = await readObject(VALUE_FILTER_NAME, signal);
    return object.length === valueFilterBytes ? filterBits(object, blockId) : undefined;
  } catch (err) {
    signal?.throwIfAborted();
    if (err instanceof TempoError) return undefined;
    throw err;
  }
}
