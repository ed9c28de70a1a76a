// Values of any type in typed arrays, and what is computed of them one by one. Whether integers stand there
// in full is a matter of space: results do not depend on it.
import type { BinaryOp } from '../ast.ts';
import { floatArithmetic, integerArithmetic } from '../fold.ts';
import { ValueType } from '../source.ts';

export class Values {
  /** Nil = none. */
  readonly type: Uint8Array;
  /** Numbers, bools, statuses, kinds. */
  readonly num: Float64Array;
  /** Strings: ids of the text pool. */
  readonly text: Int32Array;
  /** Integers in full, when some do not fit a double. */
  exact: BigInt64Array | undefined;

  constructor(size: number) {
    this.type = new Uint8Array(size);
    this.num = new Float64Array(size);
    this.text = new Int32Array(size);
  }

  integerAt(at: number): bigint {
    return this.exact?.[at] ?? BigInt(this.num[at]!);
  }

  /** An integer of 64 bits; what is larger wraps, as it does in Go. */
  setInteger(at: number, value: bigint): void {
    const exact = this.exact ?? this.withExact();
    exact[at] = value;
    this.num[at] = Number(exact[at]);
  }

  /** From now on integers stand here in full. */
  withExact(): BigInt64Array {
    const { type, num } = this;
    const exact = new BigInt64Array(type.length);
    for (let i = 0; i < type.length; i++) if (type[i] === ValueType.int) exact[i] = BigInt(num[i]!);
    this.exact = exact;
    return exact;
  }

  /** An integer that a double holds in full. */
  setSmallInteger(at: number, value: number): void {
    this.num[at] = Math.trunc(value);
    if (this.exact) this.exact[at] = BigInt(this.num[at]);
  }
}

/** A double holds the integer in full, and its neighbours too. */
export function isSafe(value: number): boolean {
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER;
}

export function isNumberType(type: number): boolean {
  return type === ValueType.int || type === ValueType.float || type === ValueType.duration;
}

/** `-value`; none when it is no number. */
export function negate(from: Values, to: Values): void {
  for (let i = 0; i < from.type.length; i++) {
    const type = from.type[i]!;
    if (!isNumberType(type)) continue;
    to.type[i] = type;
    if (type !== ValueType.int) to.num[i] = -from.num[i]!;
    else if (isSafe(from.num[i]!)) to.setSmallInteger(i, -from.num[i]!);
    else to.setInteger(i, -from.integerAt(i));
  }
}

/** Sets `lhs op rhs`; none where a side is no number, or for an integer division by zero. */
export function arithmeticInto(
  to: Values,
  op: BinaryOp,
): (at: number, lhs: Values, l: number, rhs: Values, r: number) => void {
  const { int, float, duration } = ValueType;
  return (at, lhs, l, rhs, r) => {
    const leftType = lhs.type[l]!;
    const rightType = rhs.type[r]!;
    if (!isNumberType(leftType) || !isNumberType(rightType)) return;
    const value = floatArithmetic(op, lhs.num[l]!, rhs.num[r]!);
    if (leftType !== int || rightType !== int) {
      to.type[at] = leftType === duration || rightType === duration ? duration : float;
      to.num[at] = value;
      return;
    }
    if ((op === '/' || op === '%') && rhs.num[r] === 0) return;
    to.type[at] = int;
    if (isSafe(lhs.num[l]!) && isSafe(rhs.num[r]!) && isSafe(value)) to.setSmallInteger(at, value);
    else to.setInteger(at, integerArithmetic(op, lhs.integerAt(l), rhs.integerAt(r)));
  };
}
