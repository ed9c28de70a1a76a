// The table of intrinsics: how they are written, printed and typed.
import type { FieldExpr, IntrinsicRef, StaticType } from './ast.ts';
import type { Intrinsic } from './source.ts';

interface IntrinsicInfo {
  readonly name: Intrinsic | 'parent';
  /** Canonical text, also the key in results. */
  readonly text: string;
  readonly type: StaticType;
}

const TABLE: readonly (IntrinsicInfo & { readonly written: readonly string[] })[] = [
  { name: 'span:duration', text: 'duration', type: 'duration', written: ['duration', 'span:duration'] },
  { name: 'span:name', text: 'name', type: 'string', written: ['name', 'span:name'] },
  { name: 'span:status', text: 'status', type: 'status', written: ['status', 'span:status'] },
  {
    name: 'span:statusMessage',
    text: 'statusMessage',
    type: 'string',
    written: ['statusMessage', 'span:statusMessage'],
  },
  { name: 'span:kind', text: 'kind', type: 'kind', written: ['kind', 'span:kind'] },
  { name: 'span:id', text: 'span:id', type: 'string', written: ['span:id'] },
  { name: 'span:parentID', text: 'span:parentID', type: 'string', written: ['span:parentID'] },
  { name: 'span:childCount', text: 'span:childCount', type: 'int', written: ['span:childCount'] },
  {
    name: 'trace:duration',
    text: 'traceDuration',
    type: 'duration',
    written: ['traceDuration', 'trace:duration'],
  },
  { name: 'trace:rootName', text: 'rootName', type: 'string', written: ['rootName', 'trace:rootName'] },
  {
    name: 'trace:rootService',
    text: 'rootServiceName',
    type: 'string',
    written: ['rootServiceName', 'trace:rootService'],
  },
  { name: 'trace:id', text: 'trace:id', type: 'string', written: ['trace:id'] },
  { name: 'span:nestedSetLeft', text: 'nestedSetLeft', type: 'int', written: ['nestedSetLeft'] },
  { name: 'span:nestedSetRight', text: 'nestedSetRight', type: 'int', written: ['nestedSetRight'] },
  { name: 'span:nestedSetParent', text: 'nestedSetParent', type: 'int', written: ['nestedSetParent'] },
  { name: 'event:name', text: 'event:name', type: 'string', written: ['event:name'] },
  {
    name: 'event:timeSinceStart',
    text: 'event:timeSinceStart',
    type: 'duration',
    written: ['event:timeSinceStart'],
  },
  { name: 'link:traceID', text: 'link:traceID', type: 'string', written: ['link:traceID'] },
  { name: 'link:spanID', text: 'link:spanID', type: 'string', written: ['link:spanID'] },
  {
    name: 'instrumentation:name',
    text: 'instrumentation:name',
    type: 'attribute',
    written: ['instrumentation:name'],
  },
  {
    name: 'instrumentation:version',
    text: 'instrumentation:version',
    type: 'attribute',
    written: ['instrumentation:version'],
  },
  { name: 'parent', text: 'parent', type: 'nil', written: ['parent'] },
];

const BY_WRITTEN = new Map(TABLE.flatMap((info) => info.written.map((word) => [word, info] as const)));
const BY_NAME = new Map(TABLE.map((info) => [info.name, info] as const));

/** The intrinsic of a word like `duration` or `span:duration`; undefined when it is none. */
export function intrinsicOf(word: string): IntrinsicRef | undefined {
  const info = BY_WRITTEN.get(word);
  return info && { kind: 'intrinsic', name: info.name, text: info.text };
}

export function intrinsicType(name: IntrinsicRef['name']): StaticType {
  return BY_NAME.get(name)!.type;
}

const IDS: ReadonlySet<string> = new Set([
  'span:id',
  'span:parentID',
  'trace:id',
  'link:spanID',
  'link:traceID',
]);

export function isId(expr: FieldExpr): boolean {
  return expr.kind === 'intrinsic' && IDS.has(expr.name);
}

/** All that can be written, for tests and completion. */
export const INTRINSIC_WORDS: readonly string[] = [...BY_WRITTEN.keys()];
