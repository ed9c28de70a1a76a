// Quantiles of values that are only known by powers of two.

export interface BucketCount {
  /** Upper bound, a power of two times the unit. */
  readonly bound: number;
  readonly count: number;
}

/**
 * The value below which the share `q` lies, at least one value of them; within a bucket values are taken to
 * lie evenly on a logarithmic scale.
 * @param buckets by bound.
 */
export function quantileOf(q: number, buckets: readonly BucketCount[]): number {
  const total = buckets.reduce((sum, { count }) => sum + count, 0);
  if (total === 0) return 0;
  const wanted = Math.max(1, Math.ceil(q * total));
  let before = 0;
  for (let i = 0; i < buckets.length; i++) {
    const { bound, count } = buckets[i]!;
    const reached = before + count;
    if (reached === wanted) return bound;
    if (reached > wanted) {
      const upper = Math.log2(bound);
      const lower = i === 0 ? upper - 1 : Math.log2(buckets[i - 1]!.bound);
      return 2 ** (lower + ((upper - lower) * (wanted - before)) / count);
    }
    before = reached;
  }
  return buckets.at(-1)!.bound;
}
