// Looks a value up in ascending numbers.

/** The first index, of those from `from` on, whose value is not below `value`. */
export function lowerBound(ascending: Int32Array, value: number, from = 0): number {
  let low = from;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ascending[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
