// Strings of one length take their bytes and no places, and share their numbers; others are left as they are.
import t from 'tap';
import { areAscendingNumbers, ascendingNumbers } from '../../src/lib/ascending-numbers.ts';
import { ByteTable } from '../../src/parquet/decode/byte-table.ts';
import { EvenTable } from '../../src/parquet/decode/even-table.ts';

function tableOf(...pages: readonly (readonly string[])[]): ByteTable {
  const table = new ByteTable(0);
  for (const strings of pages) {
    const parts = strings.map((text) =>
      Buffer.concat([Uint8Array.of(text.length, 0, 0, 0), Buffer.from(text)]),
    );
    const bytes = Buffer.concat(parts);
    table.addPlain(bytes, 0, bytes.length, strings.length);
  }
  return table;
}

const numbers = (count: number): Int32Array => Int32Array.from({ length: count }, (_, i) => i);

t.test('ids of several pages', async (t) => {
  const table = tableOf(['span-one', 'span-two'], ['span-six']);
  const even = EvenTable.of(numbers(3), table)!;
  const words = Array.from({ length: 3 }, (_, i) => Buffer.from(even.table.bytes(i)).toString());
  t.same(words, ['span-one', 'span-two', 'span-six']);
  t.equal(even.table.size, 3);
  t.equal(even.table.sizeBytes, 24);
  t.same([...even.ids], [0, 1, 2]);
  t.ok(areAscendingNumbers(even.ids));
});

t.test('what is not even is left as it is', async (t) => {
  t.equal(EvenTable.of(numbers(2), tableOf(['root', ''])), undefined, 'lengths differ');
  t.equal(EvenTable.of(Int32Array.of(0, 0), tableOf(['same', 'else'])), undefined, 'numbers of a dictionary');
  t.equal(EvenTable.of(numbers(1), tableOf(['some', 'more'])), undefined, 'not all strings');
  t.equal(EvenTable.of(numbers(0), tableOf()), undefined, 'none');
  t.equal(EvenTable.of(numbers(1), tableOf(['x'.repeat(33)])), undefined, 'long ones');
});

t.test('numbers that are shared stay what they are when there are more', async (t) => {
  const few = ascendingNumbers(2);
  const many = ascendingNumbers(100_000);
  t.same([...few], [0, 1]);
  t.equal(many[99_999], 99_999);
  t.notOk(areAscendingNumbers(numbers(2)));
  const tooMany = ascendingNumbers(2_000_000);
  t.equal(tooMany[1_999_999], 1_999_999);
  t.notOk(areAscendingNumbers(tooMany), 'very many are not kept for others');
});
