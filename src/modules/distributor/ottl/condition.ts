// An OTTL condition about spans or about events of spans, ready to be asked. What it names and cannot have is
// told when it is made; what goes wrong with a single span makes the condition not hold, as in Tempo.
import { TempoError } from '../../../lib/errors.ts';
import { Tag } from '../../../model/otlp/encode.ts';
import { type Argument, type Evaluate, FUNCTIONS } from './functions.ts';
import { MessageView } from './messages.ts';
import {
  type BoolNode,
  type CallNode,
  type PathNode,
  parseCondition,
  syntaxError,
  type ValueNode,
} from './syntax.ts';
import { calculate, compareValues, isList, isMap, OttlFailure, OttlId, type OttlValue } from './values.ts';

/** The span that conditions look at, with what it belongs to; for conditions on events, one of these too. */
export class SpanView {
  readonly resource: MessageView;
  readonly scope: MessageView;
  readonly span: MessageView;
  readonly event: MessageView;
  /** Of the event in its span. */
  eventIndex = 0;
  private readonly status: MessageView;

  constructor(body: Uint8Array) {
    this.resource = new MessageView(body);
    this.scope = new MessageView(body);
    this.span = new MessageView(body);
    this.event = new MessageView(body);
    this.status = new MessageView(body);
  }

  get spanStatus(): MessageView {
    return this.span.inner(Tag.span.status, this.status);
  }
}

export type OttlContext = 'span' | 'spanevent';

type Holds = (view: SpanView) => boolean;
type Messages = 'resource' | 'scope' | 'span' | 'event';

/** Span flags are fixed32; blocks have no column for them. */
const FLAGS_TAG = 0x85;
const ZERO_SPAN_ID = '0'.repeat(16);
const ZERO_TRACE_ID = '0'.repeat(32);
const KINDS = ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer'] as const;
const ENUMS: ReadonlyMap<string, bigint> = new Map([
  ...KINDS.map((kind, i) => [`SPAN_KIND_${kind.toUpperCase()}`, BigInt(i)] as const),
  ['STATUS_CODE_UNSET', 0n],
  ['STATUS_CODE_OK', 1n],
  ['STATUS_CODE_ERROR', 2n],
]);

const ATTRIBUTES: Readonly<Record<Messages, number>> = {
  resource: Tag.resource.attributes,
  scope: Tag.scope.attributes,
  span: Tag.span.attributes,
  event: Tag.event.attributes,
};

/** Paths without keys, behind the word that says whose they are. */
const PATHS: Readonly<Record<Messages, Readonly<Record<string, Evaluate<SpanView>>>>> = {
  resource: {
    dropped_attributes_count: ({ resource }) => resource.int(Tag.resource.droppedAttributesCount),
  },
  scope: {
    name: ({ scope }) => scope.text(Tag.scope.name),
    version: ({ scope }) => scope.text(Tag.scope.version),
    dropped_attributes_count: ({ scope }) => scope.int(Tag.scope.droppedAttributesCount),
  },
  span: {
    trace_id: ({ span }) => new OttlId(span.hex(Tag.span.traceId) || ZERO_TRACE_ID),
    'trace_id.string': ({ span }) => span.hex(Tag.span.traceId),
    span_id: ({ span }) => new OttlId(span.hex(Tag.span.spanId) || ZERO_SPAN_ID),
    'span_id.string': ({ span }) => span.hex(Tag.span.spanId),
    parent_span_id: ({ span }) => new OttlId(span.hex(Tag.span.parentSpanId) || ZERO_SPAN_ID),
    'parent_span_id.string': ({ span }) => parentIdText(span),
    trace_state: ({ span }) => span.text(Tag.span.traceState),
    name: ({ span }) => span.text(Tag.span.name),
    kind: ({ span }) => span.int(Tag.span.kind),
    'kind.string': ({ span }) => KINDS[Number(span.int(Tag.span.kind))] ?? '',
    'kind.deprecated_string': ({ span }) => {
      const kind = KINDS[Number(span.int(Tag.span.kind))];
      return kind === undefined ? '' : `SPAN_KIND_${kind.toUpperCase()}`;
    },
    start_time_unix_nano: ({ span }) => span.fixed64(Tag.span.startTimeUnixNano),
    end_time_unix_nano: ({ span }) => span.fixed64(Tag.span.endTimeUnixNano),
    dropped_attributes_count: ({ span }) => span.int(Tag.span.droppedAttributesCount),
    dropped_events_count: ({ span }) => span.int(Tag.span.droppedEventsCount),
    dropped_links_count: ({ span }) => span.int(Tag.span.droppedLinksCount),
    'status.code': ({ spanStatus }) => spanStatus.int(Tag.status.code),
    'status.message': ({ spanStatus }) => spanStatus.text(Tag.status.message),
    flags: ({ span }) => span.fixed32(FLAGS_TAG),
  },
  event: {
    name: ({ event }) => event.text(Tag.event.name),
    time_unix_nano: ({ event }) => event.fixed64(Tag.event.timeUnixNano),
    dropped_attributes_count: ({ event }) => event.int(Tag.event.droppedAttributesCount),
    event_index: ({ eventIndex }) => BigInt(eventIndex),
  },
};

const OWN_MESSAGE: Readonly<Record<OttlContext, Messages>> = { span: 'span', spanevent: 'event' };

/** First words of paths. */
const PREFIXES: Readonly<Record<OttlContext, ReadonlyMap<string, Messages>>> = {
  span: new Map([
    ['span', 'span'],
    ['resource', 'resource'],
    ['instrumentation_scope', 'scope'],
    ['scope', 'scope'],
  ]),
  spanevent: new Map([
    ['spanevent', 'event'],
    ['span', 'span'],
    ['resource', 'resource'],
    ['instrumentation_scope', 'scope'],
    ['scope', 'scope'],
  ]),
};

function parentIdText(span: MessageView): string {
  const hex = span.hex(Tag.span.parentSpanId);
  return hex === ZERO_SPAN_ID ? '' : hex;
}

/** True when one of the conditions holds. Throws what is wrong with one, naming it. */
export function compileConditions(context: OttlContext, texts: readonly string[]): Holds {
  const all = texts.map((text) => {
    try {
      return new Compiler(context).condition(parseCondition(text));
    } catch (err) {
      if (!(err instanceof TempoError)) throw err;
      const what = `unable to parse OTTL condition ${JSON.stringify(text)}: ${err.message}`;
      throw new TempoError('invalid_argument', what, err);
    }
  });
  return (view) => all.some((holds) => holdsFor(holds, view));
}

function holdsFor(holds: Holds, view: SpanView): boolean {
  try {
    return holds(view);
  } catch (err) {
    // what cannot be evaluated for a span, or is malformed in it, does not leave it out
    if (err instanceof OttlFailure || err instanceof TempoError) return false;
    throw err;
  }
}

class Compiler {
  private readonly context: OttlContext;

  constructor(context: OttlContext) {
    this.context = context;
  }

  condition(node: BoolNode): Holds {
    switch (node.kind) {
      case 'and': {
        const parts = node.parts.map((part) => this.condition(part));
        return (view) => parts.every((holds) => holds(view));
      }
      case 'or': {
        const parts = node.parts.map((part) => this.condition(part));
        return (view) => parts.some((holds) => holds(view));
      }
      case 'not': {
        const holds = this.condition(node.operand);
        return (view) => !holds(view);
      }
      case 'compare': {
        const { op } = node;
        const left = this.value(node.left);
        const right = this.value(node.right);
        return (view) => compareValues(op, left(view), right(view));
      }
      case 'constant':
        return () => node.value;
      case 'isTrue': {
        const call = this.call(node.call);
        return (view) => {
          const value = call(view);
          if (typeof value !== 'boolean') throw new OttlFailure('is not a bool');
          return value;
        };
      }
    }
  }

  private value(node: ValueNode): Evaluate<SpanView> {
    switch (node.kind) {
      case 'literal':
        return () => node.value;
      case 'enum': {
        const value = ENUMS.get(node.name);
        if (value === undefined) throw syntaxError(`enum symbol ${node.name} not found`, node.at);
        return () => value;
      }
      case 'list': {
        const items = node.items.map((item) => this.value(item));
        return (view) => items.map((item) => item(view));
      }
      case 'math': {
        const { op } = node;
        const left = this.value(node.left);
        const right = this.value(node.right);
        return (view) => calculate(op, left(view), right(view));
      }
      case 'path':
        return this.path(node);
      case 'call':
        return this.call(node);
    }
  }

  private call({ name, args, at }: CallNode): Evaluate<SpanView> {
    if (name === 'IsRootSpan' && this.context === 'span' && args.length === 0) {
      return ({ span }) => parentIdText(span) === '';
    }
    const called = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
    if (called === undefined) throw syntaxError(`undefined function ${JSON.stringify(name)}`, at);
    const [min, max] = called.args;
    if (args.length < min || args.length > max) {
      throw syntaxError(`${name} takes ${min} arguments, not ${args.length}`, at);
    }
    const ready = args.map(
      (node): Argument<SpanView> => ({
        evaluate: this.value(node),
        literal: node.kind === 'literal' ? node.value : undefined,
      }),
    );
    try {
      return called.make(ready);
    } catch (err) {
      throw syntaxError(`${name}: ${(err as Error).message}`, at);
    }
  }

  private path({ names, keys, at }: PathNode): Evaluate<SpanView> {
    const prefix = names.length > 1 ? PREFIXES[this.context].get(names[0]!) : undefined;
    const message = prefix ?? OWN_MESSAGE[this.context];
    const name = names.slice(prefix === undefined ? 0 : 1).join('.');
    if (name === 'attributes') return attributePath(message, keys);
    const own = PATHS[message];
    const found = Object.hasOwn(own, name) ? own[name] : undefined;
    if (found === undefined) {
      throw syntaxError(`path ${JSON.stringify(names.join('.'))} is not known or not supported`, at);
    }
    if (keys.length > 0) throw syntaxError(`${names.join('.')} has no index`, at);
    return found;
  }
}

function attributePath(message: Messages, keys: readonly (string | number)[]): Evaluate<SpanView> {
  const tag = ATTRIBUTES[message];
  const [first, ...inner] = keys;
  if (first === undefined) return (view) => view[message].attributes(tag);
  if (typeof first === 'number') return () => failIndex(first);
  const key = new TextEncoder().encode(first);
  if (inner.length === 0) return (view) => view[message].attribute(tag, key);
  return (view) => inner.reduce(indexed, view[message].attribute(tag, key));
}

function indexed(value: OttlValue, key: string | number): OttlValue {
  if (typeof key === 'string' && isMap(value)) return value.get(key);
  if (typeof key === 'number' && isList(value) && key < value.length) return value[key];
  return failIndex(key);
}

function failIndex(key: string | number): never {
  throw new OttlFailure(`there is no element ${key}`);
}
