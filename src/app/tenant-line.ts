// A line in which tenants take turns, however many of each wait: the oldest of the tenant whose turn it is
// comes next.

export class TenantLine<T> {
  /** In the order of their turns. */
  readonly #tenants = new Map<string, Set<T>>();
  #length = 0;

  get length(): number {
    return this.#length;
  }

  lengthOf(tenant: string): number {
    return this.#tenants.get(tenant)?.size ?? 0;
  }

  add(tenant: string, item: T): void {
    const items = this.#tenants.get(tenant);
    if (items === undefined) this.#tenants.set(tenant, new Set([item]));
    else items.add(item);
    this.#length++;
  }

  /** The next one. */
  take(): T | undefined {
    for (const [tenant, items] of this.#tenants) {
      const [item] = items;
      this.remove(tenant, item!);
      if (this.#tenants.delete(tenant)) this.#tenants.set(tenant, items);
      return item;
    }
    return undefined;
  }

  /** The last that came of the tenant that has most here. */
  takeLastOfLongest(): T | undefined {
    let longest: string | undefined;
    for (const tenant of this.#tenants.keys()) {
      if (longest === undefined || this.lengthOf(tenant) > this.lengthOf(longest)) longest = tenant;
    }
    if (longest === undefined) return undefined;
    const last = [...this.#tenants.get(longest)!].at(-1)!;
    this.remove(longest, last);
    return last;
  }

  get longestLength(): number {
    return Math.max(0, ...[...this.#tenants.values()].map(({ size }) => size));
  }

  /** @returns false when it is not here. */
  remove(tenant: string, item: T): boolean {
    const items = this.#tenants.get(tenant);
    if (items?.delete(item) !== true) return false;
    if (items.size === 0) this.#tenants.delete(tenant);
    this.#length--;
    return true;
  }

  all(): T[] {
    return [...this.#tenants.values()].flatMap((items) => [...items]);
  }
}
