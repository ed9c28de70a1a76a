// A trace as Tempo's JSON: from serialised OTLP TracesData straight to text, no message objects.
// Names and forms are protobuf's JSON mapping as Tempo prints it: ids base64, 64-bit integers as strings,
// enums by name, zero values left out, `status` always there.

const KIND_NAMES = ['UNSPECIFIED', 'INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER'];
const STATUS_NAMES = ['STATUS_CODE_UNSET', 'STATUS_CODE_OK', 'STATUS_CODE_ERROR'];

/** Nested values deeper than this are cut: no real attribute comes near it. */
const DEPTH_MAX = 100;

/** The text of the array of ResourceSpans in `trace` (well-formed TracesData). */
export function resourceSpansJson(trace: Uint8Array): string {
  return new TraceJson(trace).resourceSpans();
}

class TraceJson {
  private readonly bytes: Buffer;
  private readonly view: DataView;
  private at = 0;

  constructor(trace: Uint8Array) {
    this.bytes = Buffer.from(trace.buffer, trace.byteOffset, trace.byteLength);
    this.view = new DataView(trace.buffer, trace.byteOffset, trace.byteLength);
  }

  resourceSpans(): string {
    const items: string[] = [];
    this.fields(this.bytes.length, (field) => {
      if (field !== 1) return false;
      items.push(this.message((end) => this.oneResourceSpans(end)));
      return true;
    });
    return `[${items.join(',')}]`;
  }

  private oneResourceSpans(end: number): string {
    let resource = '{}';
    const scopes: string[] = [];
    this.fields(end, (field) => {
      if (field === 1) resource = this.message((e) => this.resource(e));
      else if (field === 2) scopes.push(this.message((e) => this.scopeSpans(e)));
      else return false;
      return true;
    });
    return `{"resource":${resource}${list('scopeSpans', scopes)}}`;
  }

  private resource(end: number): string {
    const attributes: string[] = [];
    let dropped = 0;
    this.fields(end, (field) => {
      if (field === 1) attributes.push(this.message((e) => this.keyValue(e, 0)));
      else if (field === 2) dropped = this.varint();
      else return false;
      return true;
    });
    return object([list('attributes', attributes), count('droppedAttributesCount', dropped)]);
  }

  private scopeSpans(end: number): string {
    let scope = '{}';
    const spans: string[] = [];
    this.fields(end, (field) => {
      if (field === 1) scope = this.message((e) => this.scope(e));
      else if (field === 2) spans.push(this.message((e) => this.span(e)));
      else return false;
      return true;
    });
    return `{"scope":${scope}${list('spans', spans)}}`;
  }

  private scope(end: number): string {
    const attributes: string[] = [];
    let [name, version, dropped] = ['', '', 0];
    this.fields(end, (field) => {
      if (field === 1) name = this.text();
      else if (field === 2) version = this.text();
      else if (field === 3) attributes.push(this.message((e) => this.keyValue(e, 0)));
      else if (field === 4) dropped = this.varint();
      else return false;
      return true;
    });
    return object([
      text('name', name),
      text('version', version),
      list('attributes', attributes),
      count('droppedAttributesCount', dropped),
    ]);
  }

  private span(end: number): string {
    const parts: string[] = [];
    const attributes: string[] = [];
    const events: string[] = [];
    const links: string[] = [];
    let [droppedAttributes, droppedEvents, droppedLinks] = ['', '', ''];
    let status = '{}';
    this.fields(end, (field) => {
      if (field === 1) parts.push(this.base64('traceId'));
      else if (field === 2) parts.push(this.base64('spanId'));
      else if (field === 3) parts.push(text('traceState', this.text()));
      else if (field === 4) parts.push(this.base64('parentSpanId'));
      else if (field === 5) parts.push(text('name', this.text()));
      else if (field === 6) parts.push(kindText(this.int32()));
      else if (field === 7) parts.push(nanos('startTimeUnixNano', this.fixed64()));
      else if (field === 8) parts.push(nanos('endTimeUnixNano', this.fixed64()));
      else if (field === 9) attributes.push(this.message((e) => this.keyValue(e, 0)));
      else if (field === 10) droppedAttributes = count('droppedAttributesCount', this.varint());
      else if (field === 11) events.push(this.message((e) => this.event(e)));
      else if (field === 12) droppedEvents = count('droppedEventsCount', this.varint());
      else if (field === 13) links.push(this.message((e) => this.link(e)));
      else if (field === 14) droppedLinks = count('droppedLinksCount', this.varint());
      else if (field === 15) status = this.message((e) => this.status(e));
      else return false;
      return true;
    });
    const lists = [
      list('attributes', attributes),
      droppedAttributes,
      list('events', events),
      droppedEvents,
      list('links', links),
      droppedLinks,
    ];
    return object([...parts, ...lists, `,"status":${status}`]);
  }

  private event(end: number): string {
    const attributes: string[] = [];
    let [time, name, dropped] = ['', '', ''];
    this.fields(end, (field) => {
      if (field === 1) time = nanos('timeUnixNano', this.fixed64());
      else if (field === 2) name = text('name', this.text());
      else if (field === 3) attributes.push(this.message((e) => this.keyValue(e, 0)));
      else if (field === 4) dropped = count('droppedAttributesCount', this.varint());
      else return false;
      return true;
    });
    return object([time, name, list('attributes', attributes), dropped]);
  }

  private link(end: number): string {
    const parts: string[] = [];
    const attributes: string[] = [];
    let dropped = '';
    this.fields(end, (field) => {
      if (field === 1) parts.push(this.base64('traceId'));
      else if (field === 2) parts.push(this.base64('spanId'));
      else if (field === 3) parts.push(text('traceState', this.text()));
      else if (field === 4) attributes.push(this.message((e) => this.keyValue(e, 0)));
      else if (field === 5) dropped = count('droppedAttributesCount', this.varint());
      else return false;
      return true;
    });
    return object([...parts, list('attributes', attributes), dropped]);
  }

  private status(end: number): string {
    let [message, code] = ['', ''];
    this.fields(end, (field) => {
      if (field === 2) message = text('message', this.text());
      else if (field === 3) code = statusText(this.int32());
      else return false;
      return true;
    });
    return object([message, code]);
  }

  private keyValue(end: number, depth: number): string {
    let [key, value] = ['', '{}'];
    this.fields(end, (field) => {
      if (field === 1) key = this.text();
      else if (field === 2) value = this.message((e) => this.anyValue(e, depth));
      else return false;
      return true;
    });
    return `{"key":${JSON.stringify(key)},"value":${value}}`;
  }

  private anyValue(end: number, depth: number): string {
    let value = '{}';
    if (depth > DEPTH_MAX) {
      this.at = end;
      return value;
    }
    this.fields(end, (field) => {
      if (field === 1) value = `{"stringValue":${JSON.stringify(this.text())}}`;
      else if (field === 2) value = `{"boolValue":${this.varint() !== 0}}`;
      else if (field === 3) value = `{"intValue":"${this.int64()}"}`;
      else if (field === 4) value = `{"doubleValue":${this.double()}}`;
      else if (field === 5) value = `{"arrayValue":${this.values((e) => this.anyValue(e, depth + 1))}}`;
      else if (field === 6) value = `{"kvlistValue":${this.values((e) => this.keyValue(e, depth + 1))}}`;
      else if (field === 7) value = `{"bytesValue":"${this.take().toString('base64')}"}`;
      else return false;
      return true;
    });
    return value;
  }

  private values(element: (end: number) => string): string {
    return this.message((end) => {
      const items: string[] = [];
      this.fields(end, (field) => {
        if (field !== 1) return false;
        items.push(this.message(element));
        return true;
      });
      return object([list('values', items)]);
    });
  }

  /** Calls `visit` at each field's content up to `end`; what it does not read (false) is skipped. */
  private fields(end: number, visit: (field: number) => boolean): void {
    while (this.at < end) {
      const tag = this.varint();
      if (!visit(tag >>> 3)) this.skip(tag & 7);
    }
  }

  private message(read: (end: number) => string): string {
    const length = this.varint();
    const end = this.at + length;
    const result = read(end);
    this.at = end;
    return result;
  }

  private skip(wireType: number): void {
    if (wireType === 0) this.int64();
    else if (wireType === 1) this.at += 8;
    else if (wireType === 2) this.take();
    else this.at += 4;
  }

  private take(): Buffer {
    const length = this.varint();
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  private text(): string {
    return this.take().toString('utf8');
  }

  private base64(name: string): string {
    const id = this.take();
    return id.length === 0 ? '' : `,"${name}":"${id.toString('base64')}"`;
  }

  private varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.bytes[this.at++] ?? 0;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
      scale *= 128;
    }
  }

  /** An enum: of a larger number the low 32 bits count, signed. */
  private int32(): number {
    const start = this.at;
    const value = this.varint();
    if (value < 0x8000_0000) return value;
    this.at = start;
    return Number(BigInt.asIntN(32, this.int64()));
  }

  private int64(): bigint {
    let value = 0n;
    let shift = 0n;
    for (;;) {
      const byte = this.bytes[this.at++] ?? 0;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asIntN(64, value);
      shift += 7n;
    }
  }

  private fixed64(): bigint {
    const value = this.view.getBigUint64(this.at, true);
    this.at += 8;
    return value;
  }

  private double(): string {
    const value = this.view.getFloat64(this.at, true);
    this.at += 8;
    if (Number.isFinite(value)) return Object.is(value, -0) ? '-0' : String(value);
    return Number.isNaN(value) ? '"NaN"' : value > 0 ? '"Infinity"' : '"-Infinity"';
  }
}

/** Parts begin with a comma each or are empty. */
function object(parts: readonly string[]): string {
  return `{${parts.join('').slice(1)}}`;
}

function list(name: string, items: readonly string[]): string {
  return items.length === 0 ? '' : `,"${name}":[${items.join(',')}]`;
}

function text(name: string, value: string): string {
  return value === '' ? '' : `,"${name}":${JSON.stringify(value)}`;
}

function count(name: string, value: number): string {
  return value === 0 ? '' : `,"${name}":${value}`;
}

function nanos(name: string, value: bigint): string {
  return value === 0n ? '' : `,"${name}":"${value}"`;
}

function kindText(kind: number): string {
  if (kind === 0) return '';
  const name = KIND_NAMES[kind];
  return name === undefined ? `,"kind":${kind}` : `,"kind":"SPAN_KIND_${name}"`;
}

function statusText(code: number): string {
  if (code === 0) return '';
  const name = STATUS_NAMES[code];
  return name === undefined ? `,"code":${code}` : `,"code":"${name}"`;
}
