// Whole numbers are kept in one or four bytes, and come out as they were.
import t from 'tap';
import { narrowNumbers } from '../../src/lib/narrow-numbers.ts';

const CASES: readonly (readonly [string, readonly number[], number])[] = [
  ['no numbers', [], 1],
  ['statuses', [0, 1, 2], 1],
  ['the largest byte', [255], 1],
  ['what takes nine bits', [256, 0], 4],
  ['a negative one', [-1, 3], 4],
  ['the ends of 32 bits', [-2147483648, 2147483647], 4],
  ['above 32 bits', [2147483648], 8],
  ['below 32 bits', [-2147483649], 8],
  ['a fraction at the end', [1, 2, 0.5], 8],
  ['a negative zero', [-0], 8],
  ['what is no number', [Number.NaN], 8],
  ['infinity', [Infinity], 8],
];

for (const [name, numbers, bytes] of CASES) {
  t.test(`${name}: ${bytes} bytes each`, (test) => {
    const narrow = narrowNumbers(Float64Array.from(numbers));
    test.equal(narrow.BYTES_PER_ELEMENT, bytes);
    test.same([...narrow], numbers);
    test.end();
  });
}
