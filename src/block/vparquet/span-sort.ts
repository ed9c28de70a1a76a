// Puts the spans of one trace into stored order: by start, and so that those of one resource, and in it of
// one scope, are neighbours; resources and scopes in order of their first span.

const TWO32 = 4294967296;
const INSERTION_MAX = 24;

export interface SortKeys {
  /** Word pairs. */
  readonly start: Int32Array;
  readonly ids: Int32Array;
  readonly resource: Int32Array;
  readonly scope: Int32Array;
}

export class SpanSorter {
  /** The spans of the trace at hand: elements [0, count). */
  order = new Int32Array(256);
  count = 0;
  private other = new Int32Array(256);
  private group1 = new Int32Array(256);
  private sizes = new Int32Array(256);
  private readonly keys: SortKeys;
  /** Start relative to the trace's first in order of arrival; by place in the row group. */
  private readonly relative: Float64Array;
  // by resource or scope: number of the grouping that it was last seen in, and its group there
  private readonly resourceSeen: Int32Array;
  private readonly resourceGroup: Int32Array;
  private readonly scopeSeen: Int32Array;
  private readonly scopeGroup: Int32Array;
  private groupings = 0;

  constructor(keys: SortKeys, counts: { readonly resources: number; readonly scopes: number }) {
    this.keys = keys;
    this.relative = new Float64Array(keys.resource.length);
    this.resourceSeen = new Int32Array(counts.resources);
    this.resourceGroup = new Int32Array(counts.resources);
    this.scopeSeen = new Int32Array(counts.scopes);
    this.scopeGroup = new Int32Array(counts.scopes);
  }

  /** Takes the spans [from, to) and sorts them by start, then by id. */
  sort(from: number, to: number): void {
    const count = to - from;
    if (this.order.length < count) {
      this.order = new Int32Array(count * 2);
      this.other = new Int32Array(count * 2);
      this.group1 = new Int32Array(count * 2);
      this.sizes = new Int32Array(count * 2);
    }
    this.count = count;
    const { order, relative } = this;
    const { start } = this.keys;
    const baseLow = start[2 * from] >>> 0;
    const baseHigh = start[2 * from + 1] >>> 0;
    for (let i = 0; i < count; i++) {
      const span = from + i;
      order[i] = span;
      relative[span] = ((start[2 * span + 1] >>> 0) - baseHigh) * TWO32 + ((start[2 * span] >>> 0) - baseLow);
    }
    for (let i = 0; i < count; i += INSERTION_MAX) this.insertionSort(i, Math.min(count, i + INSERTION_MAX));
    for (let width = INSERTION_MAX; width < count; width *= 2) this.mergeRuns(width);
  }

  private before(a: number, b: number): boolean {
    const difference = this.relative[a] - this.relative[b];
    if (difference !== 0) return difference < 0;
    // Equal, or too far from the base for a float to tell them apart.
    const { start, ids } = this.keys;
    const startHigh = (start[2 * a + 1] >>> 0) - (start[2 * b + 1] >>> 0);
    const startLow = (start[2 * a] >>> 0) - (start[2 * b] >>> 0);
    const by = startHigh || startLow || ids[2 * a + 1] - ids[2 * b + 1];
    return by !== 0 ? by < 0 : ids[2 * a] < ids[2 * b];
  }

  private insertionSort(from: number, to: number): void {
    const { order } = this;
    for (let i = from + 1; i < to; i++) {
      const span = order[i];
      let k = i;
      while (k > from && this.before(span, order[k - 1])) {
        order[k] = order[k - 1];
        k--;
      }
      order[k] = span;
    }
  }

  /** Merges neighbouring sorted runs of `width` spans. */
  private mergeRuns(width: number): void {
    const { order, other, count } = this;
    for (let from = 0; from < count; from += 2 * width) {
      const middle = Math.min(count, from + width);
      const to = Math.min(count, from + 2 * width);
      let a = from;
      let b = middle;
      for (let i = from; i < to; i++) {
        if (b >= to || (a < middle && !this.before(order[b], order[a]))) other[i] = order[a++];
        else other[i] = order[b++];
      }
    }
    this.order = other;
    this.other = order;
  }

  /** Brings together what shares a resource and a scope. */
  group(): void {
    const { resource, scope } = this.keys;
    const groups = this.partition(0, this.count, resource, this.resourceSeen, this.resourceGroup);
    // The sizes of the resource groups are overwritten by the next partitions.
    for (let g = 0; g < groups; g++) this.group1[g] = this.sizes[g];
    let from = 0;
    for (let g = 0; g < groups; g++) {
      this.partition(from, from + this.group1[g], scope, this.scopeSeen, this.scopeGroup);
      from += this.group1[g];
    }
  }

  /**
   * A stable partition of order[from, to) by `key`; groups in order of their first span. Returns their
   * number.
   */
  private partition(
    from: number,
    to: number,
    key: Int32Array,
    seen: Int32Array,
    groupOf: Int32Array,
  ): number {
    const { order, other, sizes } = this;
    const grouping = ++this.groupings;
    let groups = 0;
    for (let i = from; i < to; i++) {
      const value = key[order[i]];
      if (seen[value] !== grouping) {
        seen[value] = grouping;
        groupOf[value] = groups;
        sizes[groups++] = 0;
      }
      sizes[groupOf[value]]++;
    }
    if (groups === 1) return 1;
    let next = from;
    for (let g = 0; g < groups; g++) {
      const size = sizes[g];
      sizes[g] = next;
      next += size;
    }
    for (let i = from; i < to; i++) other[sizes[groupOf[key[order[i]]]]++] = order[i];
    for (let i = from; i < to; i++) order[i] = other[i];
    for (let g = groups - 1; g > 0; g--) sizes[g] -= sizes[g - 1];
    sizes[0] -= from;
    return groups;
  }
}
