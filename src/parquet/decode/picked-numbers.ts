// Numbers at some positions of a column: pages without any are passed over, and of the others only what was
// asked for is kept.
import type { DataPage } from '../column-pages.ts';
import { corrupt } from '../corrupt.ts';
import type { PhysicalType } from '../types.ts';
import { IndexCursor } from './indices.ts';
import { decodePage, decodePageExact, inexact, type Numbers, pageBase } from './numbers.ts';
import { PageBuffer } from './page-buffer.ts';

const NO_NUMBERS: Numbers = { num: new Float64Array(0), base: 0n, exact: undefined };

const decoded = new PageBuffer();

/** Positions [from, to) of a list lie in a page. */
interface Run {
  readonly page: DataPage;
  readonly from: number;
  readonly to: number;
}

/** @param positions ascending, among the values of the pages. */
export function pickedNumbers(
  type: PhysicalType,
  pages: readonly DataPage[],
  positions: Int32Array,
  dictionary: Numbers | undefined,
): Numbers {
  if (positions.length === 0) return NO_NUMBERS;
  const runs = runsOf(pages, positions);
  const base = type === 'INT64' ? pageBase(runs[0].page) : 0n;
  const num = new Float64Array(positions.length);
  if (runs.every((run) => pickFast(type, run, positions, base, dictionary, num))) {
    return { num, base, exact: undefined };
  }
  const exact = new BigInt64Array(positions.length);
  for (const run of runs) pickExact(run, positions, dictionary, exact);
  return inexact(exact);
}

function runsOf(pages: readonly DataPage[], positions: Int32Array): Run[] {
  const runs: Run[] = [];
  let k = 0;
  for (let from = 0, to = 0; from < positions.length; from = to) {
    while (k < pages.length && pages[k].firstValue + pages[k].valueCount <= positions[from]) k++;
    const page = pages[k];
    if (page === undefined) throw corrupt('a column has fewer values than its levels say');
    const end = page.firstValue + page.valueCount;
    while (to < positions.length && positions[to] < end) to++;
    runs.push({ page, from, to });
  }
  return runs;
}

/** False when not all are exact as doubles. */
function pickFast(
  type: PhysicalType,
  { page, from, to }: Run,
  positions: Int32Array,
  base: bigint,
  dictionary: Numbers | undefined,
  num: Float64Array,
): boolean {
  const { firstValue, encoding } = page;
  if (encoding === 'RLE_DICTIONARY' || encoding === 'PLAIN_DICTIONARY') {
    if (dictionary === undefined) throw corrupt('a dictionary is missing');
    if (base !== 0n || dictionary.exact !== undefined) return false;
    const { bytes, start, end } = page.values();
    if (start >= end) throw corrupt('a page has no indices');
    const cursor = new IndexCursor(bytes, start + 1, end, bytes[start]);
    for (let i = from; i < to; i++) {
      const id = cursor.at(positions[i] - firstValue);
      if (id >>> 0 >= dictionary.num.length) throw corrupt('an index lies outside of its dictionary');
      num[i] = dictionary.num[id];
    }
    return true;
  }
  const values = decoded.doubles(page.valueCount);
  if (!decodePage(type, page, base, dictionary, values, 0)) return false;
  for (let i = from; i < to; i++) num[i] = values[positions[i] - firstValue];
  return true;
}

function pickExact(
  { page, from, to }: Run,
  positions: Int32Array,
  dictionary: Numbers | undefined,
  exact: BigInt64Array,
): void {
  const values = decoded.longs(page.valueCount);
  decodePageExact(page, dictionary, values, 0);
  for (let i = from; i < to; i++) exact[i] = values[positions[i] - page.firstValue];
}
