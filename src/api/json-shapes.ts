// A trace in the JSON of the query API as types, for those who read it again, here and in the browser.
// Written by trace-json.ts; values that are zero or empty are left out.

export interface JsonValue {
  readonly stringValue?: string;
  readonly boolValue?: boolean;
  readonly intValue?: string;
  /** NaN and the infinities are texts. */
  readonly doubleValue?: number | string;
  readonly arrayValue?: { readonly values?: readonly JsonValue[] };
  readonly kvlistValue?: { readonly values?: readonly JsonAttribute[] };
  /** Base64, as ids are. */
  readonly bytesValue?: string;
}

export interface JsonAttribute {
  readonly key: string;
  readonly value: JsonValue;
}

export interface JsonEvent {
  readonly timeUnixNano?: string;
  readonly name?: string;
  readonly attributes?: readonly JsonAttribute[];
}

export interface JsonLink {
  readonly traceId?: string;
  readonly spanId?: string;
  readonly attributes?: readonly JsonAttribute[];
}

export interface JsonSpan {
  readonly traceId?: string;
  readonly spanId?: string;
  readonly parentSpanId?: string;
  readonly name?: string;
  /** A number where it has no name. */
  readonly kind?: string | number;
  readonly startTimeUnixNano?: string;
  readonly endTimeUnixNano?: string;
  readonly attributes?: readonly JsonAttribute[];
  readonly events?: readonly JsonEvent[];
  readonly links?: readonly JsonLink[];
  readonly status?: { readonly code?: string | number; readonly message?: string };
}

export interface JsonScopeSpans {
  readonly scope?: { readonly name?: string; readonly version?: string };
  readonly spans?: readonly JsonSpan[];
}

export interface JsonResourceSpans {
  readonly resource?: { readonly attributes?: readonly JsonAttribute[] };
  readonly scopeSpans?: readonly JsonScopeSpans[];
}
