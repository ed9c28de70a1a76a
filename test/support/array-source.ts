// A SpanSource over plain test spans, written for clearness: the yardstick that the engine is tested with
// and that heads and blocks are compared to. Spans are kept in the order given.
import type { Bitset } from '../../src/lib/bitset.ts';
import type {
  AttributeScope,
  Field,
  FieldRequest,
  LoadOptions,
  Owner,
  ServiceStats,
  SpanSource,
  StringTable,
  TraceFacts,
  Vector,
} from '../../src/traceql/source.ts';
import { ValueType } from '../../src/traceql/source.ts';
import type { Attribute, TestEvent, TestLink, TestResource, TestScope, TestSpan, Value } from './otlp.ts';

interface Entry {
  owner: number;
  type: ValueType;
  text?: Uint8Array;
  number?: number;
  integer?: bigint;
  isElement?: boolean;
}

interface NestedSet {
  left: number;
  right: number;
  parent: number;
}

interface ArrayTrace {
  id: Uint8Array;
  spans: TestSpan[];
  nested: Map<TestSpan, NestedSet>;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function unhex(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, 'hex'));
}

export class ArraySource implements SpanSource {
  readonly name = 'array';
  readonly bytesRead = 0;
  /** Every load, for tests of what a plan reads. */
  readonly loads: { request: FieldRequest; rows: Int32Array | undefined }[] = [];
  private readonly spans: readonly TestSpan[];
  private readonly traces: ArrayTrace[] = [];
  private readonly traceOf = new Map<string, number>();
  private readonly resources: TestResource[] = [];
  private readonly scopes: TestScope[] = [];
  private readonly events: { span: number; event: TestEvent }[] = [];
  private readonly links: { span: number; link: TestLink }[] = [];

  constructor(spans: readonly TestSpan[]) {
    this.spans = spans;
    const resources = new Set<TestResource>();
    const scopes = new Set<TestScope>();
    spans.forEach((span, i) => {
      resources.add(span.resource);
      scopes.add(span.scope);
      for (const event of span.events) this.events.push({ span: i, event });
      for (const link of span.links) this.links.push({ span: i, link });
      let ordinal = this.traceOf.get(span.traceId);
      if (ordinal === undefined) {
        ordinal = this.traces.length;
        this.traceOf.set(span.traceId, ordinal);
        this.traces.push({ id: unhex(span.traceId.padStart(32, '0')), spans: [], nested: new Map() });
      }
      this.traces[ordinal]!.spans.push(span);
    });
    this.resources.push(...resources);
    this.scopes.push(...scopes);
    for (const trace of this.traces) numberSpans(trace);
  }

  get traceCount(): number {
    return this.traces.length;
  }

  get spanCount(): number {
    return this.spans.length;
  }

  async traceIds(): Promise<{ ids: Uint8Array; sorted: boolean }> {
    const ids = new Uint8Array(this.traces.length * 16);
    this.traces.forEach((trace, i) => ids.set(trace.id, i * 16));
    return { ids, sorted: false };
  }

  async traceTimes(): Promise<{ startMicros: Float64Array; endMicros: Float64Array }> {
    return {
      startMicros: Float64Array.from(this.traces, (trace) => Number(startOf(trace)) / 1000),
      endMicros: Float64Array.from(this.traces, (trace) => Number(endOf(trace)) / 1000),
    };
  }

  async load(requests: readonly FieldRequest[], options: LoadOptions = {}): Promise<readonly Vector[]> {
    return requests.map((request) => {
      this.loads.push({ request, rows: options.rows });
      let entries = this.entriesOf(request.field);
      const { equals } = request;
      if (equals) {
        const wanted = new Set(equals.map((bytes) => decoder.decode(bytes)));
        entries = entries.filter((entry) => entry.text && wanted.has(decoder.decode(entry.text)));
      }
      const owner = ownerOf(request.field);
      if (options.rows) {
        const rows = new Set(options.rows);
        entries = entries.filter((entry) => rows.has(this.traceOfOwner(owner, entry.owner, rows)));
      }
      return toVector(owner, entries);
    });
  }

  /** For shared owners: any trace of `rows` that uses it. */
  private traceOfOwner(owner: Owner, index: number, rows: Set<number>): number {
    const uses = (span: TestSpan): boolean =>
      owner === 'resource' ? span.resource === this.resources[index] : span.scope === this.scopes[index];
    if (owner === 'trace') return index;
    if (owner === 'span') return this.traceOf.get(this.spans[index]!.traceId)!;
    if (owner === 'event') return this.traceOf.get(this.spans[this.events[index]!.span]!.traceId)!;
    if (owner === 'link') return this.traceOf.get(this.spans[this.links[index]!.span]!.traceId)!;
    for (const row of rows) if (this.traces[row]!.spans.some(uses)) return row;
    return -1;
  }

  async relation(
    name: 'spanTrace' | 'spanResource' | 'spanScope' | 'eventSpan' | 'linkSpan',
  ): Promise<Int32Array> {
    const resourceOf = new Map(this.resources.map((resource, i) => [resource, i]));
    const scopeOf = new Map(this.scopes.map((scope, i) => [scope, i]));
    if (name === 'spanTrace') return Int32Array.from(this.spans, (span) => this.traceOf.get(span.traceId)!);
    if (name === 'spanResource') return Int32Array.from(this.spans, (span) => resourceOf.get(span.resource)!);
    if (name === 'spanScope') return Int32Array.from(this.spans, (span) => scopeOf.get(span.scope)!);
    const owned: readonly { readonly span: number }[] = name === 'eventSpan' ? this.events : this.links;
    return Int32Array.from(owned, ({ span }) => span);
  }

  async attributeNames(scope: AttributeScope, owners: Bitset | undefined): Promise<readonly string[]> {
    const having = this.attributeOwners(scope).filter((_, i) => owners === undefined || owners.has(i));
    return [...new Set(having.flatMap(({ attributes }) => attributes.map(([name]) => name)))];
  }

  async attributes(scope: AttributeScope, owners: Bitset): Promise<ReadonlyMap<string, Vector>> {
    const vectors = new Map<string, Vector>();
    for (const name of await this.attributeNames(scope, owners)) {
      const field = { kind: 'attribute', scope, name } as const;
      const entries = this.entriesOf(field).filter(({ owner }) => owners.has(owner));
      vectors.set(name, toVector(ownerOf(field), entries));
    }
    return vectors;
  }

  async distinct(field: Field): Promise<Vector> {
    return toVector(ownerOf(field), this.entriesOf(field));
  }

  async facts(traces: Int32Array): Promise<readonly TraceFacts[]> {
    return Array.from(traces, (ordinal) => factsOf(this.traces[ordinal]!));
  }

  private entriesOf(field: Field): Entry[] {
    if (field.kind === 'intrinsic') return this.intrinsicEntries(field.name);
    const owners = this.attributeOwners(field.scope);
    return owners.flatMap(({ attributes }, i) => {
      const found = attributes.find(([key]) => key === field.name);
      return found ? entriesOfValue(i, found[1]) : [];
    });
  }

  private attributeOwners(scope: AttributeScope): readonly { readonly attributes: readonly Attribute[] }[] {
    switch (scope) {
      case 'span':
        return this.spans;
      case 'resource':
        return this.resources;
      case 'instrumentation':
        return this.scopes;
      case 'event':
        return this.events.map(({ event }) => event);
      case 'link':
        return this.links.map(({ link }) => link);
    }
  }

  private intrinsicEntries(name: string): Entry[] {
    const perTrace = TRACE_INTRINSICS[name];
    if (perTrace) return this.traces.flatMap((trace, owner) => perTrace(trace).map((e) => ({ owner, ...e })));
    const perSpan = SPAN_INTRINSICS[name];
    if (perSpan) return this.spans.flatMap((span, owner) => perSpan(span).map((e) => ({ owner, ...e })));
    const nested = NESTED_INTRINSICS[name];
    if (nested) {
      return this.spans.map((span, owner) => {
        const set = this.traces[this.traceOf.get(span.traceId)!]!.nested.get(span);
        return { owner, type: ValueType.int, number: set ? nested(set) : 0 };
      });
    }
    switch (name) {
      case 'span:childCount':
        return this.spans.map((span, owner) => ({
          owner,
          type: ValueType.int,
          number: this.childCount(span),
        }));
      case 'event:name':
        return this.events.map(({ event }, owner) => ({ owner, ...text(event.name) }));
      case 'event:timeSinceStart':
        return this.events.map(({ event, span }, owner) => {
          return { owner, ...duration(event.timeUnixNano - this.spans[span]!.startUnixNano) };
        });
      case 'link:traceID':
        return this.links.map(({ link }, owner) => ({ owner, ...id(link.traceId) }));
      case 'link:spanID':
        return this.links.map(({ link }, owner) => ({ owner, ...id(link.spanId) }));
      case 'instrumentation:name':
        return this.scopes.map((scope, owner) => ({ owner, ...text(scope.name) }));
      case 'instrumentation:version':
        return this.scopes.map((scope, owner) => ({ owner, ...text(scope.version) }));
      default:
        throw new Error(`no intrinsic ${name}`);
    }
  }

  private childCount(span: TestSpan): number {
    const siblings = this.traces[this.traceOf.get(span.traceId)!]!.spans;
    return siblings.filter((other) => other.parentSpanId === span.spanId).length;
  }
}

type Bare = Omit<Entry, 'owner'>;

function text(value: string): Bare {
  return { type: ValueType.string, text: encoder.encode(value) };
}

function id(hex: string): Bare {
  return { type: ValueType.bytes, text: unhex(hex) };
}

function duration(nanos: bigint): Bare {
  return { type: ValueType.duration, number: Number(nanos), integer: nanos };
}

function time(nanos: bigint): Bare {
  return { type: ValueType.int, number: Number(nanos), integer: nanos };
}

const SPAN_INTRINSICS: Record<string, (span: TestSpan) => Bare[]> = {
  'span:name': (span) => [text(span.name)],
  'span:duration': (span) => [duration(span.endUnixNano - span.startUnixNano)],
  'span:status': (span) => [{ type: ValueType.status, number: span.status.code }],
  'span:statusMessage': (span) => [text(span.status.message)],
  'span:kind': (span) => [{ type: ValueType.kind, number: span.kind }],
  'span:id': (span) => [id(span.spanId)],
  'span:parentID': (span) => [id(span.parentSpanId)],
  'span:start': (span) => [time(span.startUnixNano)],
};

const NESTED_INTRINSICS: Record<string, (set: NestedSet) => number> = {
  'span:nestedSetLeft': (set) => set.left,
  'span:nestedSetRight': (set) => set.right,
  'span:nestedSetParent': (set) => set.parent,
};

const TRACE_INTRINSICS: Record<string, (trace: ArrayTrace) => Bare[]> = {
  'trace:id': (trace) => [{ type: ValueType.bytes, text: trace.id }],
  'trace:duration': (trace) => [duration(endOf(trace) - startOf(trace))],
  'trace:rootName': (trace) => [text(factsOf(trace).rootName)],
  'trace:rootService': (trace) => [text(factsOf(trace).rootService)],
  'trace:start': (trace) => [time(startOf(trace))],
};

function startOf(trace: ArrayTrace): bigint {
  return trace.spans.reduce((min, span) => (span.startUnixNano < min ? span.startUnixNano : min), 1n << 64n);
}

function endOf(trace: ArrayTrace): bigint {
  return trace.spans.reduce((max, span) => (span.endUnixNano > max ? span.endUnixNano : max), 0n);
}

function serviceOf(span: TestSpan): string {
  const found = span.resource.attributes.find(([key]) => key === 'service.name');
  return typeof found?.[1] === 'string' ? found[1] : '';
}

function factsOf(trace: ArrayTrace): TraceFacts {
  const root = trace.spans.find((span) => /^0*$/.test(span.parentSpanId));
  const services = new Map<string, { spanCount: number; errorCount: number }>();
  for (const span of trace.spans) {
    const stats = services.get(serviceOf(span)) ?? { spanCount: 0, errorCount: 0 };
    stats.spanCount++;
    if (span.status.code === 2) stats.errorCount++;
    services.set(serviceOf(span), stats);
  }
  return {
    id: trace.id,
    rootService: root ? serviceOf(root) : '',
    rootName: root ? root.name : '',
    hasRoot: root !== undefined,
    startUnixNano: startOf(trace),
    endUnixNano: endOf(trace),
    services: Array.from(services, ([service, stats]): ServiceStats => ({ service, ...stats })),
  };
}

/** Depth first from the roots; what hangs on no root stays unknown. */
function numberSpans(trace: ArrayTrace): void {
  const children = new Map<string, TestSpan[]>();
  for (const span of trace.spans) {
    const key = /^0*$/.test(span.parentSpanId) ? '' : span.parentSpanId;
    children.set(key, [...(children.get(key) ?? []), span]);
  }
  let next = 1;
  const visit = (span: TestSpan, parent: number): void => {
    const set = { left: next++, right: 0, parent };
    trace.nested.set(span, set);
    for (const child of children.get(span.spanId) ?? []) if (!trace.nested.has(child)) visit(child, set.left);
    set.right = next++;
  };
  for (const root of children.get('') ?? []) visit(root, -1);
}

function entriesOfValue(owner: number, value: Value): Entry[] {
  if (typeof value === 'string') return [{ owner, ...text(value) }];
  if (typeof value === 'boolean') return [{ owner, type: ValueType.bool, number: value ? 1 : 0 }];
  if (typeof value === 'bigint')
    return [{ owner, type: ValueType.int, number: Number(value), integer: value }];
  if (typeof value === 'number') return [{ owner, type: ValueType.float, number: value }];
  if (!Array.isArray(value)) return [];
  return value
    .flatMap((element) => entriesOfValue(owner, element))
    .map((entry) => ({ ...entry, isElement: value.length > 1 }));
}

function ownerOf(field: Field): Owner {
  const scope = field.kind === 'attribute' ? field.scope : field.name.split(':')[0];
  return scope === 'instrumentation' ? 'scope' : (scope as Owner);
}

function toVector(owner: Owner, entries: readonly Entry[]): Vector {
  const table = new ArrayTable();
  const str = Int32Array.from(entries, (entry) => (entry.text ? table.add(entry.text) : -1));
  const isExact = entries.every(
    (entry) => entry.integer === undefined || Number.isSafeInteger(Number(entry.integer)),
  );
  return {
    owner,
    count: entries.length,
    owners: Int32Array.from(entries, (entry) => entry.owner),
    type: Uint8Array.from(entries, (entry) => entry.type),
    str,
    table,
    num: Float64Array.from(entries, (entry) => entry.number ?? 0),
    base: 0n,
    exact: isExact
      ? undefined
      : BigInt64Array.from(entries, (entry) => entry.integer ?? BigInt(Math.trunc(entry.number ?? 0))),
    isElement: entries.some((entry) => entry.isElement)
      ? Uint8Array.from(entries, (entry) => (entry.isElement ? 1 : 0))
      : undefined,
  };
}

class ArrayTable implements StringTable {
  private readonly strings: Uint8Array[] = [];
  private readonly ids = new Map<string, number>();

  get size(): number {
    return this.strings.length;
  }

  bytes(index: number): Uint8Array {
    return this.strings[index]!;
  }

  add(bytes: Uint8Array): number {
    const key = Buffer.from(bytes).toString('latin1');
    let index = this.ids.get(key);
    if (index === undefined) {
      index = this.strings.length;
      this.ids.set(key, index);
      this.strings.push(bytes);
    }
    return index;
  }
}
