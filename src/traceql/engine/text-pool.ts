// Strings of several tables under one numbering, so that equal strings have equal numbers. Only what is
// asked for enters.
import { decodeText, type RegexMatcher, regexMatcher } from '../regex.ts';
import type { StringTable } from '../source.ts';

const encoder = new TextEncoder();

export class TextPool {
  private readonly idByKey = new Map<string, number>();
  private readonly entries: Uint8Array[] = [];
  private readonly byTable = new WeakMap<StringTable, Int32Array>();
  private readonly patterns = new Map<number, Map<number, boolean> | undefined>();
  /** Of the pattern that was asked for last: a matcher may hold megabytes. */
  private matcher: { readonly pattern: number; readonly regex: RegexMatcher } | undefined;
  private readonly signal: AbortSignal | undefined;

  constructor(signal?: AbortSignal) {
    this.signal = signal;
  }

  /** The memo of one table: pool id of each of its strings, -1 = not asked yet. */
  idsOf(table: StringTable): Int32Array {
    let ids = this.byTable.get(table);
    if (!ids) {
      ids = new Int32Array(table.size).fill(-1);
      this.byTable.set(table, ids);
    }
    return ids;
  }

  idOf(table: StringTable, ids: Int32Array, id: number): number {
    let pooled = ids[id]!;
    if (pooled < 0) {
      pooled = this.add(table.bytes(id));
      ids[id] = pooled;
    }
    return pooled;
  }

  idOfText(text: string): number {
    return this.add(encoder.encode(text));
  }

  bytes(id: number): Uint8Array {
    return this.entries[id]!;
  }

  text(id: number): string {
    return decodeText(this.entries[id]!);
  }

  /** Does string `id` match the pattern that string `pattern` is? A bad pattern matches nothing. */
  matches(id: number, pattern: number): boolean {
    if (!this.patterns.has(pattern)) {
      this.patterns.set(pattern, regexMatcher(this.text(pattern)) ? new Map() : undefined);
    }
    const decided = this.patterns.get(pattern);
    if (!decided) return false;
    let answer = decided.get(id);
    if (answer === undefined) {
      // Compiling takes a tenth of a second at worst, and one value may be as much.
      this.signal?.throwIfAborted();
      answer = this.matcherOf(pattern).matchesBytes(this.bytes(id));
      decided.set(id, answer);
    }
    return answer;
  }

  private matcherOf(pattern: number): RegexMatcher {
    if (this.matcher?.pattern !== pattern) {
      this.matcher = { pattern, regex: regexMatcher(this.text(pattern))! };
    }
    return this.matcher.regex;
  }

  private add(bytes: Uint8Array): number {
    let key = '';
    for (let i = 0; i < bytes.length; i++) key += String.fromCharCode(bytes[i]!);
    let id = this.idByKey.get(key);
    if (id === undefined) {
      id = this.entries.length;
      this.idByKey.set(key, id);
      this.entries.push(bytes);
    }
    return id;
  }
}
