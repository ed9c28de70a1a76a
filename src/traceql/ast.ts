// The syntax tree of a TraceQL query: plain readonly data, discriminated by `kind`.
import type { AttributeScope, Intrinsic } from './source.ts';

/** The last of each stands for a number that has no name, which only answers say. */
export type StatusName = 'unset' | 'ok' | 'error' | `status(${number})`;
export type KindName =
  | 'unspecified'
  | 'internal'
  | 'server'
  | 'client'
  | 'producer'
  | 'consumer'
  | `kind(${number})`;

/** A constant. Integers and durations (ns) are exact 64-bit numbers. */
export type Static =
  | { readonly type: 'nil' }
  | { readonly type: 'string'; readonly value: string }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'int'; readonly value: bigint }
  | { readonly type: 'float'; readonly value: number }
  | { readonly type: 'duration'; readonly value: bigint }
  | { readonly type: 'status'; readonly value: StatusName }
  | { readonly type: 'kind'; readonly value: KindName };

/** What an expression may be at parse time; `attribute` is known per span only. */
export type StaticType = Static['type'] | 'attribute';

type LogicalOp = '&&' | '||';
export type CompareOp = '=' | '!=' | '<' | '<=' | '>' | '>=' | '=~' | '!~';
export type ArithmeticOp = '+' | '-' | '*' | '/' | '%' | '^';
export type BinaryOp = LogicalOp | CompareOp | ArithmeticOp;

export type Attribute = {
  readonly kind: 'attribute';
  /** `none`: looked up in every scope. */
  readonly scope: AttributeScope | 'none';
  /** `parent.` was written before it. */
  readonly parent: boolean;
  readonly name: string;
};

export type IntrinsicRef = {
  readonly kind: 'intrinsic';
  /** The canonical field; `parent` parses and is not supported. */
  readonly name: Intrinsic | 'parent';
  /** As Tempo prints it: `duration`, `rootServiceName`, `event:name`. */
  readonly text: string;
};

export type FieldExpr =
  | { readonly kind: 'literal'; readonly value: Static }
  | Attribute
  | IntrinsicRef
  | { readonly kind: 'binary'; readonly op: BinaryOp; readonly lhs: FieldExpr; readonly rhs: FieldExpr }
  | { readonly kind: 'unary'; readonly op: '!' | '-'; readonly operand: FieldExpr };

export type StructuralOp =
  | '>>'
  | '<<'
  | '>'
  | '<'
  | '~'
  | '!>>'
  | '!<<'
  | '!>'
  | '!<'
  | '!~'
  | '&>>'
  | '&<<'
  | '&>'
  | '&<'
  | '&~';
export type SpansetOp = LogicalOp | StructuralOp;

export type SpansetExpr =
  | { readonly kind: 'filter'; readonly expr: FieldExpr }
  | {
      readonly kind: 'spansets';
      readonly op: SpansetOp;
      readonly lhs: SpansetExpr;
      readonly rhs: SpansetExpr;
    }
  /** A parenthesised pipeline of more than one stage. */
  | { readonly kind: 'pipeline'; readonly stages: readonly Stage[] };

export type AggregateName = 'count' | 'avg' | 'min' | 'max' | 'sum';

export type ScalarExpr =
  | { readonly kind: 'literal'; readonly value: Static }
  | { readonly kind: 'aggregate'; readonly name: AggregateName; readonly arg: FieldExpr | undefined }
  | {
      readonly kind: 'scalars';
      readonly op: ArithmeticOp;
      readonly lhs: ScalarExpr;
      readonly rhs: ScalarExpr;
    }
  /** A parenthesised pipeline whose last stage is `result`. */
  | { readonly kind: 'scalarPipeline'; readonly stages: readonly Stage[]; readonly result: ScalarExpr };

export type Stage =
  | SpansetExpr
  | {
      readonly kind: 'scalarFilter';
      readonly op: SampleOp;
      readonly lhs: ScalarExpr;
      readonly rhs: ScalarExpr;
    }
  | { readonly kind: 'by'; readonly expr: FieldExpr }
  | { readonly kind: 'coalesce' }
  | { readonly kind: 'select'; readonly fields: readonly FieldRef[] };

export type FieldRef = Attribute | IntrinsicRef;

export type MetricsName =
  | 'rate'
  | 'count_over_time'
  | 'min_over_time'
  | 'max_over_time'
  | 'avg_over_time'
  | 'sum_over_time'
  | 'quantile_over_time'
  | 'histogram_over_time';

export type MetricsStage =
  | {
      readonly kind: 'metrics';
      readonly name: MetricsName;
      readonly arg: FieldRef | undefined;
      readonly quantiles: readonly number[];
      readonly by: readonly FieldRef[];
    }
  | {
      readonly kind: 'compare';
      readonly filter: FieldExpr;
      readonly topN: number;
      /** Unix ns; 0 = not given. */
      readonly start: bigint;
      readonly end: bigint;
    };

/** What is done with the series of a metrics function, when all are known. */
export type SecondStage =
  | { readonly kind: 'rank'; readonly name: 'topk' | 'bottomk'; readonly limit: number }
  /** Keeps the samples that compare so with a number; durations mean seconds. */
  | { readonly kind: 'samples'; readonly op: SampleOp; readonly value: Static };
export type SampleOp = Exclude<CompareOp, '=~' | '!~'>;

export type Hint = { readonly name: string; readonly value: Static };

export interface Query {
  readonly stages: readonly Stage[];
  readonly metrics: MetricsStage | undefined;
  /** One after the other. */
  readonly second: readonly SecondStage[];
  readonly hints: readonly Hint[];
}

export function isSpansetExpr(node: Stage): node is SpansetExpr {
  return node.kind === 'filter' || node.kind === 'spansets' || node.kind === 'pipeline';
}
