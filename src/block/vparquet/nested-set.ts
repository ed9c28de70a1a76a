// Spans of one trace by their ids: finds duplicates and parents, and numbers the tree as a nested set.

const KIND_MASK = 15;
const KIND_SERVER = 2;
const KIND_CLIENT = 3;

/** What numbering needs of the spans of a row group; ids are word pairs, spans are addressed by their place here. */
export interface SpanKeys {
  readonly ids: Int32Array;
  readonly parents: Int32Array;
  /** Low four bits are the kind. */
  readonly kinds: Uint8Array;
}

export interface NestedSetColumns {
  readonly left: Int32Array;
  readonly right: Int32Array;
  /** `left` of the parent, -1 for a root, 0 for a span outside of the tree. */
  readonly parent: Int32Array;
}

export class TraceSpans {
  private readonly keys: SpanKeys;
  /** Open addressing; span or -1. */
  private slots = new Int32Array(256);
  private mask = 0;
  /** Some span id is used more than twice: Tempo then gives up on the tree, and so do we. */
  private ambiguous = false;
  // by place in the trace
  private child = new Int32Array(128);
  private sibling = new Int32Array(128);
  private parent = new Int32Array(128);

  constructor(keys: SpanKeys) {
    this.keys = keys;
  }

  /** Begins a trace of at most `count` spans. */
  reset(count: number): void {
    let capacity = 16;
    while (capacity < count * 2) capacity *= 2;
    if (this.slots.length < capacity) this.slots = new Int32Array(capacity);
    this.slots.fill(-1, 0, capacity);
    this.mask = capacity - 1;
    this.ambiguous = false;
  }

  /** Adds a span; false when the trace has one of the same id and kind. */
  add(span: number): boolean {
    const { ids, kinds } = this.keys;
    const low = ids[2 * span];
    const high = ids[2 * span + 1];
    let slot = this.slotOf(low, high);
    let same = 0;
    for (; this.slots[slot] >= 0; slot = (slot + 1) & this.mask) {
      const other = this.slots[slot];
      if (ids[2 * other] !== low || ids[2 * other + 1] !== high) continue;
      if (((kinds[other] ^ kinds[span]) & KIND_MASK) === 0) return false;
      same++;
    }
    if (same > 1) this.ambiguous = true;
    this.slots[slot] = span;
    return true;
  }

  private slotOf(low: number, high: number): number {
    const mixed = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b);
    return (mixed ^ (mixed >>> 15)) & this.mask;
  }

  /** The parent of a span that names one, or -1. Two spans of one id (a client and a server sharing it) are told apart by kind. */
  private parentOf(span: number): number {
    const { ids, parents, kinds } = this.keys;
    const low = parents[2 * span];
    const high = parents[2 * span + 1];
    const wanted = (kinds[span] & KIND_MASK) === KIND_SERVER ? KIND_CLIENT : KIND_SERVER;
    let only = -1;
    let chosen = -1;
    let found = 0;
    for (let slot = this.slotOf(low, high); this.slots[slot] >= 0; slot = (slot + 1) & this.mask) {
      const other = this.slots[slot];
      if (ids[2 * other] !== low || ids[2 * other + 1] !== high) continue;
      found++;
      only = other;
      if ((kinds[other] & KIND_MASK) === wanted) chosen = other;
    }
    return found > 1 ? chosen : only;
  }

  /**
   * Numbers the added spans, given in stored order; results go to `out` from `at` on (which must hold zeros).
   * @param places place in the trace by span; filled by the caller for all added spans.
   */
  number(order: Int32Array, count: number, places: Int32Array, out: NestedSetColumns, at: number): void {
    if (this.ambiguous) return;
    if (!this.link(order, count, places)) return;
    const { child, sibling, parent } = this;
    const { parents } = this.keys;
    let counter = 1;
    for (let root = 0; root < count; root++) {
      if (parents[2 * order[root]] !== 0 || parents[2 * order[root] + 1] !== 0) continue;
      let place = root;
      out.left[at + root] = counter++;
      out.parent[at + root] = -1;
      for (;;) {
        const next = child[place];
        if (next >= 0) {
          child[place] = sibling[next];
          out.left[at + next] = counter++;
          out.parent[at + next] = out.left[at + place];
          place = next;
          continue;
        }
        out.right[at + place] = counter++;
        if (place === root) break;
        place = parent[place];
      }
    }
  }

  /** Fills the lists of children in stored order; false when there is no root. */
  private link(order: Int32Array, count: number, places: Int32Array): boolean {
    if (this.child.length < count) {
      this.child = new Int32Array(count * 2);
      this.sibling = new Int32Array(count * 2);
      this.parent = new Int32Array(count * 2);
    }
    const { child, sibling, parent } = this;
    const { parents } = this.keys;
    child.fill(-1, 0, count);
    let hasRoot = false;
    for (let place = count - 1; place >= 0; place--) {
      const span = order[place];
      if (parents[2 * span] === 0 && parents[2 * span + 1] === 0) {
        hasRoot = true;
        continue;
      }
      const found = this.parentOf(span);
      if (found < 0) continue;
      const above = places[found];
      parent[place] = above;
      sibling[place] = child[above];
      child[above] = place;
    }
    return hasRoot;
  }
}
