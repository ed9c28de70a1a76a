// The numbers 0, 1, 2 and so on: one array for all who need them.

/** More are an array of whoever needs them: the shared one stays. */
const SHARED_MAX = 1 << 20;

let numbers = new Int32Array(0);

/** Shared, but for very many: nobody may write to it or hand it to another thread. */
export function ascendingNumbers(count: number): Int32Array {
  if (count > SHARED_MAX) return Int32Array.from({ length: count }, (_, i) => i);
  if (count > numbers.length) {
    numbers = new Int32Array(Math.min(SHARED_MAX, Math.max(count, 2 * numbers.length)));
    for (let i = 0; i < numbers.length; i++) numbers[i] = i;
  }
  return numbers.subarray(0, count);
}

/** Is that a part of the shared array, as it is now? */
export function areAscendingNumbers(array: Int32Array): boolean {
  return array.buffer === numbers.buffer;
}
