// OTTL conditions and which of some spans they leave out, for our filter and for Tempo's.
import { aResource, aScope, aSpan, hexId, START_NANO, type TestSpan } from './otlp.ts';

export interface ConditionCase {
  readonly condition: string;
  /** Names of spans that the condition holds for. */
  readonly out: string;
}

/** One span of each name: root, call, job, odd. */
export function conditionSpans(): TestSpan[] {
  const shop = aResource('shop', [['host.name', 'h1']]);
  const bank = aResource('bank', [['zone', 3n]]);
  return [
    aSpan({
      name: 'root',
      kind: 2,
      resource: shop,
      attributes: [
        ['http.status_code', 200n],
        ['http.target', '/health/live'],
        ['x', 'y'],
        ['ok', true],
      ],
      endUnixNano: START_NANO + 2_000_000_000n,
    }),
    aSpan({
      name: 'call',
      kind: 3,
      spanId: hexId(2, 8),
      parentSpanId: hexId(1, 8),
      resource: shop,
      attributes: [
        ['http.status_code', 503n],
        ['score', 0.5],
        ['x', 'Y'],
        ['ok', false],
      ],
      status: { code: 2, message: 'went wrong' },
    }),
    aSpan({
      name: 'job',
      kind: 5,
      spanId: hexId(3, 8),
      parentSpanId: hexId(1, 8),
      traceState: 'a=b',
      resource: bank,
      scope: aScope('worker', '2.0'),
      status: { code: 1, message: '' },
    }),
    aSpan({
      name: 'odd',
      kind: 1,
      traceId: hexId(7, 16),
      spanId: hexId(4, 8),
      parentSpanId: hexId(9, 8),
      resource: bank,
      attributes: [
        ['big', 2n ** 60n],
        ['list', ['a', 'b']],
        ['blob', Uint8Array.of(1, 2)],
        ['x', 5n],
      ],
      droppedAttributes: 2,
    }),
  ];
}

export const CONDITIONS: readonly ConditionCase[] = [
  { condition: 'attributes["x"] == "y"', out: 'root' },
  { condition: 'span.attributes["x"] == "y"', out: 'root' },
  { condition: 'attributes["x"] != "y"', out: 'call job odd' },
  { condition: 'attributes["x"] < "y"', out: 'call' },
  { condition: 'attributes["x"] == 5 or attributes["x"] == 5.0', out: 'odd' },
  { condition: 'attributes["x"] == nil', out: 'job' },
  { condition: 'attributes["x"] != nil', out: 'root call odd' },
  { condition: 'attributes["http.status_code"] >= 500', out: 'call' },
  { condition: 'attributes["http.status_code"] < 500', out: 'root' },
  { condition: 'attributes["score"] < 1', out: 'call' },
  { condition: 'attributes["ok"] == true', out: 'root' },
  { condition: 'attributes["ok"]== false or attributes["ok"] < false', out: 'call' },
  { condition: 'attributes["big"] == 1152921504606846976', out: 'odd' },
  { condition: 'attributes["list"][1] == "b"', out: 'odd' },
  { condition: 'attributes["list"] == ["a", "b"]', out: 'odd' },
  { condition: 'resource.attributes["service.name"] == "bank"', out: 'job odd' },
  { condition: 'resource.attributes["zone"] == 3 and name != "odd"', out: 'job' },
  { condition: 'name == "root" or name == "job" and kind == SPAN_KIND_CLIENT', out: 'root' },
  { condition: '(name == "root" or name == "job") and kind == 5', out: 'job' },
  { condition: 'not (name == "root")', out: 'call job odd' },
  { condition: 'not IsMatch(name, "^(root|call)$")', out: 'job odd' },
  { condition: 'IsMatch(attributes["http.target"], "^/health")', out: 'root' },
  { condition: 'IsMatch(attributes["http.status_code"], "5..")', out: 'call' },
  { condition: 'IsMatch(name, "o")', out: 'root job odd' },
  { condition: 'kind.string == "Server"', out: 'root' },
  { condition: 'kind.deprecated_string == "SPAN_KIND_INTERNAL"', out: 'odd' },
  { condition: 'status.code == STATUS_CODE_ERROR', out: 'call' },
  { condition: 'status.code == STATUS_CODE_UNSET', out: 'root odd' },
  { condition: 'status.message == "went wrong"', out: 'call' },
  { condition: 'IsRootSpan()', out: 'root' },
  { condition: 'parent_span_id == SpanID(0x0000000000000000)', out: 'root' },
  { condition: 'parent_span_id.string == "0000000000000001"', out: 'call job' },
  { condition: 'trace_id == TraceID(0x00000000000000000000000000000007)', out: 'odd' },
  { condition: 'trace_id.string == "00000000000000000000000000000007"', out: 'odd' },
  { condition: 'span_id != SpanID(0x0000000000000003)', out: 'root call odd' },
  { condition: 'trace_state == "a=b"', out: 'job' },
  { condition: 'end_time_unix_nano - start_time_unix_nano > 1000000000', out: 'root' },
  { condition: '(end_time_unix_nano - start_time_unix_nano) / 1000000 >= 2000', out: 'root' },
  {
    condition: 'instrumentation_scope.name == "worker" and instrumentation_scope.version == "2.0"',
    out: 'job',
  },
  { condition: 'dropped_attributes_count > 0', out: 'odd' },
  { condition: 'Len(attributes) == 0', out: 'job' },
  { condition: 'IsString(attributes["x"]) and HasSuffix(name, "ot")', out: 'root' },
  { condition: 'Concat([name, attributes["x"]], "-") == "root-y"', out: 'root' },
  { condition: 'ToLowerCase(attributes["x"]) == "y"', out: 'root call' },
  { condition: 'HasPrefix(attributes["x"], "Y")', out: 'call' },
  { condition: 'attributes["x"] + 1 == 6', out: 'odd' },
  { condition: 'true', out: 'root call job odd' },
  { condition: 'false', out: '' },
];
