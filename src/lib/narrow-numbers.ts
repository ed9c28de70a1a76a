// Whole numbers in as few bytes as they need, for what is kept.

export type NumberArray = Float64Array | Int32Array | Uint8Array;

const BYTE_MAX = 255;

/** The same numbers in one or four bytes each where all of them are whole and fit, else the array itself. */
export function narrowNumbers(numbers: Float64Array): NumberArray {
  let bits = 0;
  for (let i = 0; i < numbers.length; i++) {
    const value = numbers[i]!;
    const whole = value | 0;
    if (whole !== value || Object.is(value, -0)) return numbers;
    bits |= whole;
  }
  return bits >>> 0 <= BYTE_MAX ? new Uint8Array(numbers) : new Int32Array(numbers);
}
