// The numbers 0, 1, 2 and so on: one array for all who need them.

let numbers = new Int32Array(0);

/** Shared: nobody may write to it. */
export function ascendingNumbers(count: number): Int32Array {
  if (count > numbers.length) {
    numbers = new Int32Array(Math.max(count, 2 * numbers.length));
    for (let i = 0; i < numbers.length; i++) numbers[i] = i;
  }
  return numbers.subarray(0, count);
}

/** Is that a part of the shared array? */
export function areAscendingNumbers(array: Int32Array): boolean {
  return array.buffer === numbers.buffer;
}
