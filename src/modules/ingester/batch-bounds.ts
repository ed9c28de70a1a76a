// What the builder counts by and the main thread shows; apart from the metrics, whose library takes the
// builder's thread as long to load as all of its own code.
import { exponentialBuckets } from '../../lib/exponential-buckets.ts';

export const TRACES_PER_BATCH_BOUNDS: readonly number[] = exponentialBuckets(2, 2, 10);
