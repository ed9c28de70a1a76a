// How a configuration block is described: one field per YAML key with its kind, default and meaning.
// The TypeScript type of the loaded block is derived from the description, so the two cannot differ.
import { parseDuration } from '../lib/duration.ts';
import { parseSize } from '../lib/size.ts';
import type { Notes } from './errors.ts';
import type { YamlMap } from './yaml.ts';

export interface FieldOptions {
  /**
   * Name of the command line flag; with a leading `+` it is appended to the enclosing block's `flagPrefix`.
   */
  readonly flag?: string;
  /** Left out of printed configuration while it has its default. */
  readonly hidden?: boolean;
  /** Of what is below it only that is printed which is not the default. */
  readonly sparse?: boolean;
  /** No key of Tempo. */
  readonly ours?: boolean;
  /** Printed as `<secret>`. */
  readonly secret?: boolean;
}

interface Base<T> extends FieldOptions {
  readonly doc: string;
  readonly default: T;
}

export interface TextField extends Base<string> {
  readonly kind: 'text';
}
export interface BoolField extends Base<boolean> {
  readonly kind: 'bool';
}
export interface IntField extends Base<number> {
  readonly kind: 'int';
}
export interface FloatField extends Base<number> {
  readonly kind: 'float';
}
/** Milliseconds; the property's name ends in `Ms`. */
export interface DurationField extends Base<number> {
  readonly kind: 'duration';
  /** Tempo reads days and weeks too (`14d`), as Prometheus does. */
  readonly days?: true;
  /** A negative one is a mistake that nothing should start with; else 0 is used in its place. */
  readonly refusesNegative?: true;
}
/** Bytes written as a number or as text with a unit (`64KiB`). */
export interface SizeField extends Base<number> {
  readonly kind: 'size';
}
export interface EnumField<V extends string> extends Base<V> {
  readonly kind: 'enum';
  readonly values: readonly V[];
}
/** Defaults of lists and maps are not typed by their items: the types would nest too deep. */
export interface ListField<F> extends Base<readonly unknown[]> {
  readonly kind: 'list';
  readonly item: F;
  /** A single text is read too, and an empty list is printed as one. */
  readonly orText?: boolean;
}
export interface MapField<F> extends Base<Readonly<Record<string, unknown>>> {
  readonly kind: 'map';
  readonly value: F;
}
/** Any YAML; for keys that are accepted and not read. */
export interface RawField extends Base<unknown> {
  readonly kind: 'raw';
}
export interface BlockField<S> extends FieldOptions, BlockOptions {
  readonly kind: 'block';
  readonly doc: string;
  readonly shape: S;
}
/** A block that is undefined until its key appears, even with an empty value. */
export interface OptionalField<F> extends FieldOptions {
  readonly kind: 'optional';
  /** An empty value is as good as none, and what is undefined is printed as null. */
  readonly orNull?: boolean;
  readonly doc: string;
  readonly field: F;
}

export type Field =
  | TextField
  | BoolField
  | IntField
  | FloatField
  | DurationField
  | SizeField
  | EnumField<string>
  | RawField
  | ListField<Field>
  | MapField<Field>
  | BlockField<Shape>
  | OptionalField<Field>;

export interface Shape {
  readonly [key: string]: Field;
}

export interface BlockOptions {
  readonly flagPrefix?: string;
  /** Old dotted key below this block -> the dotted key that replaced it. Used, with a warning. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Dotted keys that once existed: ignored, with a warning. */
  readonly obsolete?: readonly string[];
  /** Other shapes that users write: brought into the described one, after aliases. */
  readonly rearrange?: (node: YamlMap, path: string, notes: Notes) => void;
}

type ValueOf<F> = F extends { readonly kind: 'block'; readonly shape: infer S }
  ? ConfigOf<S>
  : F extends { readonly kind: 'optional'; readonly field: infer G }
    ? ValueOf<G> | undefined
    : F extends { readonly kind: 'list'; readonly item: infer G }
      ? readonly ValueOf<G>[]
      : F extends { readonly kind: 'map'; readonly value: infer G }
        ? Readonly<Record<string, ValueOf<G>>>
        : F extends { readonly kind: 'enum'; readonly values: readonly (infer V)[] }
          ? V
          : F extends { readonly default: infer T }
            ? T
            : never;

/** `max_block_duration` -> `maxBlockDuration`. */
type Camel<K extends string> = K extends `${infer A}_${infer B}` ? `${A}${Capitalize<Camel<B>>}` : K;
type PropertyName<K, F> = K extends string
  ? F extends { readonly kind: 'duration' } | { readonly field: { readonly kind: 'duration' } }
    ? `${Camel<K>}Ms`
    : Camel<K>
  : never;

/** The loaded form of a shape: camel case names, `Ms` behind durations, deeply readonly. */
export type ConfigOf<S> = { readonly [K in keyof S as PropertyName<K, S[K]>]: ValueOf<S[K]> };

/** The name that a YAML key has in the loaded configuration. */
export function propertyName(key: string, field: Field): string {
  const camel = key.replace(/_([a-z0-9])/g, (_all, c: string) => c.toUpperCase());
  const kind = field.kind === 'optional' ? field.field.kind : field.kind;
  return kind === 'duration' ? `${camel}Ms` : camel;
}

export function text(value: string, doc: string, options?: FieldOptions): TextField {
  return { kind: 'text', default: value, doc, ...options };
}

export function secret(doc: string, options?: FieldOptions): TextField {
  return { kind: 'text', default: '', doc, secret: true, ...options };
}

export function bool(value: boolean, doc: string, options?: FieldOptions): BoolField {
  return { kind: 'bool', default: value, doc, ...options };
}

export function int(value: number, doc: string, options?: FieldOptions): IntField {
  return { kind: 'int', default: value, doc, ...options };
}

export function float(value: number, doc: string, options?: FieldOptions): FloatField {
  return { kind: 'float', default: value, doc, ...options };
}

/** @param value Go duration text, such as `1h30m`. */
export function duration(value: string, doc: string, options?: FieldOptions): DurationField {
  return { kind: 'duration', default: parseDuration(value), doc, ...options };
}

/** One in which Tempo reads days and weeks too, and nothing negative. */
export function days(value: string, doc: string, options?: FieldOptions): DurationField {
  return { ...notNegative(duration(value, doc, options)), days: true };
}

export function notNegative(field: DurationField): DurationField {
  return { ...field, refusesNegative: true };
}

/** @param value size text, such as `64KiB`. */
export function size(value: string, doc: string, options?: FieldOptions): SizeField {
  return { kind: 'size', default: parseSize(value), doc, ...options };
}

export function oneOf<const V extends string>(
  values: readonly V[],
  value: NoInfer<V>,
  doc: string,
  options?: FieldOptions,
): EnumField<V> {
  return { kind: 'enum', values, default: value, doc, ...options };
}

export function list<F extends Field>(
  item: F,
  value: readonly unknown[],
  doc: string,
  options?: FieldOptions & { readonly orText?: boolean },
): ListField<F> {
  return { kind: 'list', item, default: value, doc, ...options };
}

export function map<F extends Field>(
  value: F,
  defaults: Readonly<Record<string, unknown>>,
  doc: string,
  options?: FieldOptions,
): MapField<F> {
  return { kind: 'map', value, default: defaults, doc, ...options };
}

export function raw(value: unknown, doc: string, options?: FieldOptions): RawField {
  return { kind: 'raw', default: value, doc, ...options };
}

export function block<S extends Shape>(
  shape: S,
  doc = '',
  options?: FieldOptions & BlockOptions,
): BlockField<S> {
  return { kind: 'block', shape, doc, ...options };
}

export function optional<F extends Field>(
  field: F,
  doc = '',
  options?: FieldOptions & { readonly orNull?: boolean },
): OptionalField<F> {
  return { kind: 'optional', field, doc, ...options };
}

/** A shape with other defaults: dotted key -> value (durations and sizes as text). */
export function withDefaults<S extends Shape>(
  shape: S,
  defaults: Readonly<Record<string, string | number | boolean>>,
): S {
  const copy: Record<string, Shape[string]> = { ...shape };
  for (const [path, value] of Object.entries(defaults)) {
    const [key, ...rest] = path.split('.') as [string, ...string[]];
    const field = copy[key];
    if (field === undefined) throw new Error(`withDefaults: no field ${path}`);
    if (rest.length > 0) {
      if (field.kind !== 'block') throw new Error(`withDefaults: ${key} is no block`);
      copy[key] = { ...field, shape: withDefaults(field.shape, { [rest.join('.')]: value }) };
    } else {
      copy[key] = { ...field, default: defaultOf(field, value) } as Shape[string];
    }
  }
  return copy as S;
}

function defaultOf(field: Field, value: string | number | boolean): unknown {
  if (field.kind === 'duration') return parseDuration(String(value));
  if (field.kind === 'size') return parseSize(String(value));
  return value;
}
