// The messages of streamed answers: what is found is sent while a query runs, each trace, name and value
// once, in messages of a size that clients take.
import { TempoError } from '../../lib/errors.ts';
import type { TagValueType } from '../../traceql/engine/value-set.ts';
import { joinedInSlices } from './body.ts';
import { EarlySeries } from './early-series.ts';
import { growing } from './growing.ts';
import { metricsPartial } from './metrics-response.ts';
import { metricsPackets, type Pair, pairPackets, searchPackets } from './packets.ts';
import type {
  FoundAllNames,
  FoundMetrics,
  FoundNames,
  FoundPlainValues,
  FoundSearch,
  FoundValues,
  MetricsSoFar,
  OnProgress,
  ReadCall,
  Reads,
} from './reads.ts';
import { partialNote, searchNotes } from './request.ts';
import { listProto, scopesProto, valuesProto } from './tag-response.ts';

export interface StreamedReads {
  readonly reads: Reads;
  /** Messages are about that large at most. */
  readonly packetBytesMax: number;
  /** Series of metrics that still run are sent that often at most. */
  readonly earlySeriesMs: number;
}

type Messages = (
  streamed: StreamedReads,
  call: ReadCall,
  trailers: Record<string, string>,
) => AsyncGenerator<Uint8Array>;

/** Names or values, as a message has them. */
interface FoundTags {
  readonly inspectedBytes: number;
  readonly partial: readonly string[];
}

interface TagStream<Found extends FoundTags> {
  readonly ask: (reads: Reads, call: ReadCall, onProgress: OnProgress<Found>) => Promise<Found>;
  readonly pairsOf: (found: Found) => Iterable<Pair>;
  readonly message: (
    groups: readonly (readonly [string, string[]])[],
    inspectedBytes: number,
  ) => Iterable<Uint8Array>;
}

export const searchMessages: Messages = async function* ({ reads, packetBytesMax }, call, trailers) {
  const parts = growing<FoundSearch, FoundSearch>(
    (onProgress) => reads.search(call, 'proto', { onProgress }),
    ({ answer }) => answer.traces.length > 0,
  );
  const sent = new Set<string>();
  let next = await parts.next();
  for (; next.done !== true; next = await parts.next()) {
    for (const { traceId } of next.value.answer.traces) sent.add(traceId);
    yield* searchPackets(next.value, packetBytesMax, false);
  }
  const { value: found } = next;
  Object.assign(trailers, searchNotes(found));
  const traces = found.answer.traces.filter(({ traceId }) => !sent.has(traceId));
  yield* searchPackets({ ...found, answer: { ...found.answer, traces } }, packetBytesMax, true);
};

/** By the names of the methods. */
export const TAG_STREAMS: Readonly<Record<string, Messages>> = {
  SearchTags: tagMessages<FoundAllNames>({
    ask: (reads, call, onProgress) => reads.allNames(call, onProgress),
    pairsOf: ({ names }) => pairs('', names),
    message: listMessage,
  }),
  SearchTagsV2: tagMessages<FoundNames>({
    ask: (reads, call, onProgress) => reads.namesByScope(call, onProgress),
    pairsOf: function* ({ scopes }) {
      for (const { name, tags } of scopes) yield* pairs(name, tags);
    },
    message: (groups, bytes) => [
      scopesProto(
        groups.map(([name, tags]) => ({ name, tags })),
        bytes,
      ),
    ],
  }),
  SearchTagValues: tagMessages<FoundPlainValues>({
    ask: (reads, call, onProgress) => reads.plainValues(call, tagNameOf(call), onProgress),
    pairsOf: ({ texts }) => pairs('', texts),
    message: listMessage,
  }),
  SearchTagValuesV2: tagMessages<FoundValues>({
    ask: (reads, call, onProgress) => reads.typedValues(call, tagNameOf(call), onProgress),
    pairsOf: function* ({ types }) {
      for (const { type, values } of types) yield* pairs(type, values);
    },
    message: (groups, bytes) =>
      valuesProto(
        groups.map(([type, values]) => ({ type: type as TagValueType, values })),
        bytes,
      ),
  }),
};

/** By the names of the methods. */
export const METRICS_STREAMS: Readonly<Record<string, Messages>> = {
  MetricsQueryRange: metricsMessages(false),
  MetricsQueryInstant: metricsMessages(true),
};

/**
 * While jobs run, how far they are and now and then the series so far. Clients replace the values that they
 * have: those of the last messages are the answer.
 */
function metricsMessages(isInstant: boolean): Messages {
  return async function* ({ reads, packetBytesMax, earlySeriesMs }, call, trailers) {
    const early = new EarlySeries(packetBytesMax, earlySeriesMs);
    const parts = growing<MetricsSoFar, FoundMetrics>((onProgress) =>
      reads.metrics(call, isInstant, 'proto', { onProgress }),
    );
    let next = await parts.next();
    for (; next.done !== true; next = await parts.next()) {
      yield* metricsPackets(await early.added(next.value), packetBytesMax, false);
    }
    Object.assign(trailers, partialNote(metricsPartial(next.value)));
    yield* metricsPackets(next.value, packetBytesMax, true);
  };
}

function tagMessages<Found extends FoundTags>({ ask, pairsOf, message }: TagStream<Found>): Messages {
  return async function* ({ reads, packetBytesMax }, call, trailers) {
    const sent = new Map<string, Set<string>>();
    const unsent = function* (found: Found): Generator<Pair> {
      for (const pair of pairsOf(found)) {
        const [group, text] = pair;
        let texts = sent.get(group);
        if (texts === undefined) sent.set(group, (texts = new Set()));
        if (texts.has(text)) continue;
        texts.add(text);
        yield pair;
      }
    };
    const messages = async function* (found: Found): AsyncGenerator<Uint8Array> {
      for await (const groups of pairPackets(unsent(found), packetBytesMax)) {
        yield await joinedInSlices(message(groups, found.inspectedBytes));
      }
    };
    const parts = growing<Found, Found>(
      async (onProgress) => ask(reads, call, onProgress),
      (found) => pairsOf(found)[Symbol.iterator]().next().done !== true,
    );
    let next = await parts.next();
    for (; next.done !== true; next = await parts.next()) yield* messages(next.value);
    Object.assign(trailers, partialNote(next.value.partial));
    yield* messages(next.value);
  };
}

function* pairs(group: string, texts: readonly string[]): Generator<Pair> {
  for (const text of texts) yield [group, text];
}

function listMessage(
  groups: readonly (readonly [string, readonly string[]])[],
  inspectedBytes: number,
): Iterable<Uint8Array> {
  return listProto(groups[0]?.[1] ?? [], inspectedBytes);
}

export function tagNameOf({ params }: ReadCall): string {
  const name = params.get('tagName') ?? '';
  if (name === '') throw new TempoError('invalid_argument', 'please provide a non-empty tagName');
  return name;
}
