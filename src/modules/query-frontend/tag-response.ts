// The bodies of tag names and values, v1 and v2, as JSON and protobuf.
import { ByteWriter } from '../../lib/byte-writer.ts';
import { bytesField, textField, varintField } from '../../lib/protobuf.ts';
import { jsonString } from '../../traceql/engine/json.ts';
import type { TypedValues } from '../../traceql/engine/value-set.ts';

export interface ScopeNames {
  readonly name: string;
  readonly tags: readonly string[];
}

/** v1, names and values alike: SearchTags[Values]Response {1 tagNames or tagValues, 2 metrics}. */
export function listJson(key: string, texts: readonly string[], inspectedBytes: number): string {
  return `{"${key}":[${texts.map(jsonString).join()}],"metrics":${metricsJson(inspectedBytes)}}`;
}

export function listProto(texts: readonly string[], inspectedBytes: number): Uint8Array {
  const out = new ByteWriter(64 * texts.length + 64);
  for (const text of texts) bytesField(out, 1, Buffer.from(text));
  metricsField(out, inspectedBytes);
  return out.view();
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
  metricsField(out, inspectedBytes);
  return out.view();
}

/** An empty text is left out, as in all of Tempo's JSON. */
export function valuesJson(types: readonly TypedValues[], inspectedBytes: number): string {
  const parts = types.flatMap(({ type, values }) =>
    values.map((value) =>
      value === '' ? `{"type":"${type}"}` : `{"type":"${type}","value":${jsonString(value)}}`,
    ),
  );
  return `{"tagValues":[${parts.join()}],"metrics":${metricsJson(inspectedBytes)}}`;
}

/** SearchTagValuesV2Response {1 tagValues {1 type, 2 value}, 2 metrics}. */
export function valuesProto(types: readonly TypedValues[], inspectedBytes: number): Uint8Array {
  const out = new ByteWriter(4096);
  const entry = new ByteWriter(256);
  for (const { type, values } of types) {
    for (const value of values) {
      entry.reset();
      textField(entry, 1, type);
      textField(entry, 2, value);
      bytesField(out, 1, entry.view());
    }
  }
  metricsField(out, inspectedBytes);
  return out.view();
}

/** For language models: values by type, numbers as numbers. */
export function valuesLlm(types: readonly TypedValues[], inspectedBytes: number): string {
  const parts = types.map(({ type, values }) => `"${type}":[${values.map(jsonString).join()}]`);
  const metrics = inspectedBytes > 0 ? `,"metrics":{"inspectedBytes":${inspectedBytes}}` : '';
  return `{"tagValues":{${parts.join()}}${metrics}}`;
}

function metricsJson(inspectedBytes: number): string {
  return inspectedBytes > 0 ? `{"inspectedBytes":"${inspectedBytes}"}` : '{}';
}

/** MetadataMetrics {1 inspectedBytes}. */
function metricsField(out: ByteWriter, inspectedBytes: number): void {
  const metrics = new ByteWriter(16);
  varintField(metrics, 1, inspectedBytes);
  bytesField(out, 2, metrics.view());
}
