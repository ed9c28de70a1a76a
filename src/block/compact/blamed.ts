// Errors that say which input they come from, so that the others can be compacted without it.
import { TempoError } from '../../lib/errors.ts';

export async function blaming<T>(blockId: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (err) {
    if (!(err instanceof TempoError) || err.message.includes(blockId)) throw err;
    throw new TempoError(err.code, `block ${blockId}: ${err.message}`, err);
  }
}
