// The bodies of tag names and values, v1 and v2, as JSON and protobuf. There may be very many values, so
// these are written a piece at a time.
import { ByteWriter } from '../../lib/byte-writer.ts';
import { bytesField, textField, varintField } from '../../lib/protobuf.ts';
import { jsonString } from '../../traceql/engine/json.ts';
import type { TypedValues } from '../../traceql/engine/value-set.ts';

export interface ScopeNames {
  readonly name: string;
  readonly tags: readonly string[];
}

const TEXTS_A_PIECE = 1024;

/** v1, names and values alike: SearchTags[Values]Response {1 tagNames or tagValues, 2 metrics}. */
export function* listJson(
  key: string,
  texts: readonly string[],
  inspectedBytes: number,
): Generator<Uint8Array> {
  yield Buffer.from(`{"${key}":[`);
  yield* joined(texts, jsonString);
  yield Buffer.from(`],"metrics":${metricsJson(inspectedBytes)}}`);
}

export function* listProto(texts: readonly string[], inspectedBytes: number): Generator<Uint8Array> {
  for (const some of piecesOf(texts)) {
    const out = new ByteWriter(64 * some.length);
    for (const text of some) bytesField(out, 1, Buffer.from(text));
    yield out.view();
  }
  yield metricsField(inspectedBytes);
}

export function scopesJson(scopes: readonly ScopeNames[], inspectedBytes: number): string {
  const parts = scopes.map(({ name, tags }) => `{"name":"${name}","tags":[${tags.map(jsonString).join()}]}`);
  return `{"scopes":[${parts.join()}],"metrics":${metricsJson(inspectedBytes)}}`;
}

/** SearchTagsV2Response {1 scopes {1 name, 2 tags}, 2 metrics}. */
export function scopesProto(scopes: readonly ScopeNames[], inspectedBytes: number): Uint8Array {
  const out = new ByteWriter(1024);
  const scope = new ByteWriter(1024);
  for (const { name, tags } of scopes) {
    scope.reset();
    textField(scope, 1, name);
    for (const tag of tags) bytesField(scope, 2, Buffer.from(tag));
    bytesField(out, 1, scope.view());
  }
  out.raw(metricsField(inspectedBytes));
  return out.view();
}

/** An empty text is left out, as in all of Tempo's JSON. */
export function* valuesJson(types: readonly TypedValues[], inspectedBytes: number): Generator<Uint8Array> {
  let open = '{"tagValues":[';
  for (const { type, values } of types) {
    if (values.length === 0) continue;
    yield Buffer.from(open);
    yield* joined(values, (value) =>
      value === '' ? `{"type":"${type}"}` : `{"type":"${type}","value":${jsonString(value)}}`,
    );
    open = ',';
  }
  yield Buffer.from(`${open === ',' ? '' : open}],"metrics":${metricsJson(inspectedBytes)}}`);
}

/** SearchTagValuesV2Response {1 tagValues {1 type, 2 value}, 2 metrics}. */
export function* valuesProto(types: readonly TypedValues[], inspectedBytes: number): Generator<Uint8Array> {
  const entry = new ByteWriter(256);
  for (const { type, values } of types) {
    for (const some of piecesOf(values)) {
      const out = new ByteWriter(4096);
      for (const value of some) {
        entry.reset();
        textField(entry, 1, type);
        textField(entry, 2, value);
        bytesField(out, 1, entry.view());
      }
      yield out.view();
    }
  }
  yield metricsField(inspectedBytes);
}

/** For language models: values by type, numbers as numbers. */
export function* valuesLlm(types: readonly TypedValues[], inspectedBytes: number): Generator<Uint8Array> {
  yield Buffer.from('{"tagValues":{');
  for (const [i, { type, values }] of types.entries()) {
    yield Buffer.from(`${i > 0 ? ',' : ''}"${type}":[`);
    yield* joined(values, jsonString);
    yield Buffer.from(']');
  }
  const metrics = inspectedBytes > 0 ? `,"metrics":{"inspectedBytes":${inspectedBytes}}` : '';
  yield Buffer.from(`}${metrics}}`);
}

/** Some at a time, with commas between all. */
function* joined(texts: readonly string[], jsonOf: (text: string) => string): Generator<Uint8Array> {
  let comma = '';
  for (const some of piecesOf(texts)) {
    yield Buffer.from(comma + some.map(jsonOf).join());
    comma = ',';
  }
}

function* piecesOf(texts: readonly string[]): Generator<readonly string[]> {
  for (let at = 0; at < texts.length; at += TEXTS_A_PIECE) yield texts.slice(at, at + TEXTS_A_PIECE);
}

function metricsJson(inspectedBytes: number): string {
  return inspectedBytes > 0 ? `{"inspectedBytes":"${inspectedBytes}"}` : '{}';
}

/** MetadataMetrics {1 inspectedBytes}. */
function metricsField(inspectedBytes: number): Uint8Array {
  const metrics = new ByteWriter(16);
  varintField(metrics, 1, inspectedBytes);
  const out = new ByteWriter(16);
  bytesField(out, 2, metrics.view());
  return out.view();
}
