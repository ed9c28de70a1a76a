// The functions of OTTL that conditions of forwarders may call. Those of the Collector that are not here are
// refused at start, by name.
import { RE2JS } from 're2js';
import { regexProblem } from '../../../traceql/regex.ts';
import { compareValues, isList, isMap, OttlFailure, OttlId, type OttlValue, textOf } from './values.ts';

export type Evaluate<View> = (view: View) => OttlValue;

/** An argument: what it evaluates to, and its value where it is a literal. */
export interface Argument<View> {
  readonly evaluate: Evaluate<View>;
  readonly literal: OttlValue;
}

/** How many arguments it takes, and what is made of them. `make` throws an Error that says what is wrong. */
interface OttlFunction {
  readonly args: readonly [min: number, max: number];
  make<View>(args: readonly Argument<View>[]): Evaluate<View>;
}

const DIGITS = /^[-+]?\d+$/;

function ofValue(max: number, apply: (value: OttlValue, other: OttlValue) => OttlValue): OttlFunction {
  return {
    args: [max, max],
    make: ([value, other]) => {
      const second = other?.evaluate;
      return (view) => apply(value!.evaluate(view), second?.(view));
    },
  };
}

function ofText(apply: (text: string, other: string) => OttlValue, max = 1): OttlFunction {
  return ofValue(max, (value, other) => apply(needText(value), max === 1 ? '' : needText(other)));
}

function needText(value: OttlValue): string {
  if (typeof value !== 'string') throw new OttlFailure('is not a string');
  return value;
}

const isMatch: OttlFunction = {
  args: [2, 2],
  make: ([target, pattern]) => {
    const text = pattern!.literal;
    if (typeof text !== 'string') throw new Error('a pattern that is not a string literal is not supported');
    const problem = regexProblem(text);
    if (problem !== undefined) {
      throw new Error(`the regex pattern ${JSON.stringify(text)} is not a valid pattern: ${problem}`);
    }
    const regex = RE2JS.compile(text);
    return (view) => {
      const subject = textOf(target!.evaluate(view));
      return subject !== undefined && regex.matcher(subject).find();
    };
  },
};

const concat: OttlFunction = {
  args: [2, 2],
  make:
    ([values, delimiter]) =>
    (view) => {
      const list = values!.evaluate(view);
      if (!isList(list)) throw new OttlFailure('is not a list');
      return list.map((item) => textOf(item) ?? '<nil>').join(needText(delimiter!.evaluate(view)));
    },
};

function idFunction(bytes: number): OttlFunction {
  return {
    args: [1, 1],
    make: ([value]) => {
      const { literal } = value!;
      const hex = literal instanceof Uint8Array ? Buffer.from(literal).toString('hex') : literal;
      if (typeof hex !== 'string' || hex.length !== bytes * 2 || !/^[0-9a-fA-F]*$/.test(hex)) {
        throw new Error(`needs a literal of ${bytes} bytes`);
      }
      const id = new OttlId(hex.toLowerCase());
      return () => id;
    },
  };
}

function lengthOf(value: OttlValue): OttlValue {
  if (typeof value === 'string' || value instanceof Uint8Array)
    return BigInt(typeof value === 'string' ? Buffer.byteLength(value) : value.length);
  if (isList(value)) return BigInt(value.length);
  if (isMap(value)) return BigInt(value.size);
  throw new OttlFailure('has no length');
}

function intOf(value: OttlValue): OttlValue {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'boolean') return value ? 1n : 0n;
  if (typeof value === 'number' && Number.isFinite(value))
    return BigInt.asIntN(64, BigInt(Math.trunc(value)));
  if (typeof value === 'string' && DIGITS.test(value)) {
    const int = BigInt(value.replace('+', ''));
    return BigInt.asIntN(64, int) === int ? int : undefined;
  }
  return undefined;
}

function doubleOf(value: OttlValue): OttlValue {
  if (typeof value === 'bigint' || typeof value === 'number' || typeof value === 'boolean')
    return Number(value);
  if (typeof value !== 'string' || value.trim() !== value || value === '') return undefined;
  const double = Number(value);
  return Number.isNaN(double) ? undefined : double;
}

export const FUNCTIONS: Readonly<Record<string, OttlFunction>> = {
  IsMatch: isMatch,
  Concat: concat,
  TraceID: idFunction(16),
  SpanID: idFunction(8),
  IsString: ofValue(1, (value) => typeof value === 'string'),
  IsBool: ofValue(1, (value) => typeof value === 'boolean'),
  IsInt: ofValue(1, (value) => typeof value === 'bigint'),
  IsDouble: ofValue(1, (value) => typeof value === 'number'),
  IsMap: ofValue(1, isMap),
  IsList: ofValue(1, isList),
  Len: ofValue(1, lengthOf),
  Int: ofValue(1, intOf),
  Double: ofValue(1, doubleOf),
  String: ofValue(1, textOf),
  ToLowerCase: ofText((text) => text.toLowerCase()),
  ToUpperCase: ofText((text) => text.toUpperCase()),
  HasPrefix: ofText((text, prefix) => text.startsWith(prefix), 2),
  HasSuffix: ofText((text, suffix) => text.endsWith(suffix), 2),
  ContainsValue: ofValue(2, (list, wanted) => {
    if (!isList(list)) throw new OttlFailure('is not a list');
    return list.some((item) => compareValues('==', item, wanted));
  }),
};
