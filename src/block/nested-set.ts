// Nested-set numbers of the spans of a trace: a span is below another when its numbers lie within the
// other's.

const KIND_SERVER = 2;
const KIND_CLIENT = 3;
const NONE = -1;

/**
 * Computes one trace after the other in memory of its own: results are valid until the next `compute`.
 * Unless a trace has a root and no span id more than twice, nothing is known of it: all numbers are 0.
 */
export class NestedSets {
  /** 0 = not connected to a root. */
  left = new Int32Array(0);
  right = new Int32Array(0);
  /** `left` of the parent; -1 for roots. */
  parent = new Int32Array(0);
  /** Spans right below each, whether a root leads to it or not. */
  childCount = new Int32Array(0);
  /** Index of the parent, -1 = none. */
  private parentSpan = new Int32Array(0);
  private firstChild = new Int32Array(0);
  private lastChild = new Int32Array(0);
  private nextSibling = new Int32Array(0);
  private twin = new Int32Array(0); // the second span with the same id
  private slots = new Int32Array(0); // index + 1, by span id
  private readonly seed = (Math.random() * 0x1_0000_0000) | 0;

  /**
   * @param ids span ids, two words each; a kind may give an id a second time.
   * @param parents parent ids, two words each; 0,0 = root.
   * @param kinds OTLP numbers.
   */
  compute(count: number, ids: Int32Array, parents: Int32Array, kinds: Uint8Array): void {
    this.reset(count);
    const mask = 2 ** Math.ceil(Math.log2(count * 2)) - 1;
    if (!hasRoot(count, parents) || !this.index(count, ids, mask)) return;
    for (let i = 0; i < count; i++) this.link(i, ids, parents, kinds, mask);
    let next = 1;
    for (let i = 0; i < count; i++) {
      if (parents[2 * i] === 0 && parents[2 * i + 1] === 0) next = this.number(i, next);
    }
  }

  private reset(count: number): void {
    if (this.left.length < count) {
      const size = Math.max(256, count * 2);
      this.left = new Int32Array(size);
      this.right = new Int32Array(size);
      this.parent = new Int32Array(size);
      this.childCount = new Int32Array(size);
      this.parentSpan = new Int32Array(size);
      this.firstChild = new Int32Array(size);
      this.lastChild = new Int32Array(size);
      this.nextSibling = new Int32Array(size);
      this.twin = new Int32Array(size);
      this.slots = new Int32Array(2 ** Math.ceil(Math.log2(size * 2)));
    }
    this.left.fill(0, 0, count);
    this.right.fill(0, 0, count);
    this.parent.fill(0, 0, count);
    this.childCount.fill(0, 0, count);
    this.parentSpan.fill(NONE, 0, count);
    this.firstChild.fill(NONE, 0, count);
    this.lastChild.fill(NONE, 0, count);
    this.nextSibling.fill(NONE, 0, count);
    this.twin.fill(NONE, 0, count);
  }

  /** Spans by id; false when an id is there more than twice. */
  private index(count: number, ids: Int32Array, mask: number): boolean {
    this.slots.fill(0, 0, mask + 1);
    for (let i = 0; i < count; i++) {
      const slot = this.slot(ids, ids[2 * i]!, ids[2 * i + 1]!, mask);
      const first = this.slots[slot]! - 1;
      if (first < 0) this.slots[slot] = i + 1;
      else if (this.twin[first] === NONE) this.twin[first] = i;
      else return false;
    }
    return true;
  }

  /** Where the id is, or would be. */
  private slot(ids: Int32Array, low: number, high: number, mask: number): number {
    const h = Math.imul(low ^ this.seed ^ Math.imul(high ^ this.seed, 0x85ebca6b), 0x9e3779b1);
    let slot = (h ^ (h >>> 15)) & mask;
    for (let i = this.slots[slot]! - 1; i >= 0; i = this.slots[slot]! - 1) {
      if (ids[2 * i] === low && ids[2 * i + 1] === high) break;
      slot = (slot + 1) & mask;
    }
    return slot;
  }

  /** Of two spans that share the parent's id, a server's parent is the client and any other's the server. */
  private link(i: number, ids: Int32Array, parents: Int32Array, kinds: Uint8Array, mask: number): void {
    const low = parents[2 * i]!;
    const high = parents[2 * i + 1]!;
    if (low === 0 && high === 0) return;
    let parent = this.slots[this.slot(ids, low, high, mask)]! - 1;
    if (parent < 0) return;
    const twin = this.twin[parent]!;
    if (twin !== NONE) {
      const wanted = kinds[i] === KIND_SERVER ? KIND_CLIENT : KIND_SERVER;
      if (kinds[parent] !== wanted) parent = kinds[twin] === wanted ? twin : NONE;
      if (parent === NONE) return;
    }
    this.parentSpan[i] = parent;
    this.childCount[parent]!++;
    if (this.firstChild[parent] === NONE) this.firstChild[parent] = i;
    else this.nextSibling[this.lastChild[parent]!] = i;
    this.lastChild[parent] = i;
  }

  /** Depth first below the root, children in their order; returns the next number. */
  private number(root: number, first: number): number {
    let next = first;
    let span = root;
    this.parent[root] = -1;
    this.left[root] = next++;
    for (;;) {
      const child = this.firstChild[span]!;
      if (child !== NONE) {
        this.firstChild[span] = this.nextSibling[child]!; // taken
        this.parent[child] = this.left[span]!;
        this.left[child] = next++;
        span = child;
        continue;
      }
      this.right[span] = next++;
      if (span === root) return next;
      span = this.parentSpan[span]!;
    }
  }
}

function hasRoot(count: number, parents: Int32Array): boolean {
  for (let i = 0; i < count; i++) if (parents[2 * i] === 0 && parents[2 * i + 1] === 0) return true;
  return false;
}
