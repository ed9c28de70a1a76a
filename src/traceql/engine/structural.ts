// Spanset operators: union and intersection of traces, and the structural operators over nested-set numbers.
import type { SpansetOp } from '../ast.ts';
import type { Bitset } from '../../lib/bitset.ts';
import { unsupported } from '../error.ts';
import type { Scan } from './scan.ts';

/** Takes over both sets. */
export async function combineSpansets(scan: Scan, op: SpansetOp, left: Bitset, right: Bitset): Promise<Bitset> {
  if (op === '||') return left.or(right);
  if (op === '&&') {
    const both = (await scan.tracesOf(left)).and(await scan.tracesOf(right));
    return scan.keepTraces(left.or(right), both);
  }
  throw unsupported('structural operator');
}
