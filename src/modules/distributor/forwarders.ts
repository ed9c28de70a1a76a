// Copies of what was kept, sent on to other OTLP receivers: a bounded queue for each tenant and forwarder,
// and two senders for each queue. Nothing here delays or fails a push; what does not fit is left out and
// counted.
import { TempoError } from '../../lib/errors.ts';
import { TENANT_HEADER } from '../../model/tenant.ts';
import { type GrpcClientOptions, openGrpcClient, type UnaryClient } from '../../rpc/grpc-client.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { ForwarderMetrics } from './forwarder-metrics.ts';
import { type FilterSettings, SpanFilter } from './ottl/filter.ts';

/** An entry of `distributor.forwarders`. */
export interface ForwarderSettings {
  readonly name: string;
  readonly backend: string;
  readonly otlpgrpc: {
    readonly endpoints: readonly string[];
    readonly tls: { readonly insecure: boolean; readonly certFile: string };
  };
  /** What is not sent: OTTL conditions. */
  readonly filter: { readonly traces: FilterSettings };
}

export interface ForwardersOptions {
  readonly settings: readonly ForwarderSettings[];
  readonly metrics: ForwarderMetrics;
  readonly logger: Logger;
  /** Gets a line for each request that could not be sent. */
  readonly failures: Logger;
  /** Instead of gRPC, for tests. */
  readonly open?: (options: GrpcClientOptions) => Promise<UnaryClient>;
}

const EXPORT_PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export';
/** As in Tempo, where it cannot be set either. */
const QUEUE_LENGTH_MAX = 100;
const SENDERS = 2;
/** Of all queues of a forwarder. */
const QUEUED_BYTES_MAX = 128 << 20;

/** Where one forwarder sends to. */
class Target {
  readonly name: string;
  readonly clients: readonly UnaryClient[];
  /** Undefined: all spans are sent. */
  readonly filter: SpanFilter | undefined;
  queuedBytes = 0;

  constructor(name: string, clients: readonly UnaryClient[], filter: SpanFilter | undefined) {
    this.name = name;
    this.clients = clients;
    this.filter = filter;
  }
}

/** Requests of a tenant on their way to one forwarder. */
class Queue {
  readonly waiting: Uint8Array[] = [];
  readonly target: Target;
  readonly tenant: string;
  sending = 0;

  constructor(target: Target, tenant: string) {
    this.target = target;
    this.tenant = tenant;
  }
}

/** A forwarder's file is that of the authorities; the name is that of an endpoint. */
const TLS_KEYS = {
  ca: 'tls.cert_file',
  cert: 'tls, which has none of a client',
  serverName: 'endpoints',
  enabled: 'tls.insecure',
};

export class Forwarders {
  readonly #options: ForwardersOptions;
  readonly #filters = new Map<string, SpanFilter>();
  readonly #targets = new Map<string, Target>();
  /** By tenant, then by forwarder; undefined = there is no forwarder of that name. */
  readonly #queues = new Map<string, Map<string, Queue | undefined>>();
  #isStopping = false;
  #drained = Promise.withResolvers<void>();

  constructor(options: ForwardersOptions) {
    checkSettings(options.settings);
    this.#options = options;
    for (const [i, { name, filter }] of options.settings.entries()) {
      const made = filterOf(filter.traces, i);
      if (made !== undefined) this.#filters.set(name, made);
    }
  }

  async start(): Promise<void> {
    const { settings, open = openGrpcClient } = this.#options;
    for (const [i, { name, otlpgrpc }] of settings.entries()) {
      const tls = otlpgrpc.tls.insecure
        ? undefined
        : { name: `distributor.forwarders[${i}].otlpgrpc`, keys: TLS_KEYS, caFile: otlpgrpc.tls.certFile };
      const opening = otlpgrpc.endpoints.map((address) => open({ address, tls }));
      this.#targets.set(name, new Target(name, await Promise.all(opening), this.#filters.get(name)));
    }
  }

  /** Lets queues run empty for so long, then drops what is left. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    if (!this.#isEmpty()) {
      const timer = setTimeout(() => this.#drained.resolve(), graceMs);
      await this.#drained.promise;
      clearTimeout(timer);
    }
    for (const { clients } of this.#targets.values()) for (const client of clients) client.close();
    this.#queues.clear();
  }

  /** Queues a copy of a request for each of the forwarders. */
  forward(tenant: string, names: readonly string[], body: Uint8Array): void {
    if (this.#isStopping) return;
    let copy: Uint8Array | undefined;
    for (const name of names) {
      const queue = this.#queueOf(tenant, name);
      if (queue === undefined) continue;
      copy ??= new Uint8Array(body);
      this.#push(queue, copy);
    }
  }

  /** Drops the queues of tenants, but for those that are not empty. */
  forget(tenants: ReadonlySet<string>): void {
    for (const tenant of tenants) {
      const queues = this.#queues.get(tenant);
      if (queues !== undefined && !isBusy(queues)) this.#queues.delete(tenant);
    }
  }

  #queueOf(tenant: string, name: string): Queue | undefined {
    let queues = this.#queues.get(tenant);
    if (queues === undefined) this.#queues.set(tenant, (queues = new Map()));
    if (queues.has(name)) return queues.get(name);
    const target = this.#targets.get(name);
    const queue = target === undefined ? undefined : new Queue(target, tenant);
    queues.set(name, queue);
    if (queue === undefined) {
      const fields = { tenant, forwarder: name };
      this.#options.logger.warn('a tenant names a forwarder that is not configured', fields);
    }
    return queue;
  }

  #push(queue: Queue, body: Uint8Array): void {
    const { metrics } = this.#options;
    const { target, tenant, waiting } = queue;
    metrics.pushed(target.name, tenant);
    const isFull = waiting.length >= QUEUE_LENGTH_MAX || target.queuedBytes + body.length > QUEUED_BYTES_MAX;
    if (isFull) return metrics.refused(target.name, tenant);
    waiting.push(body);
    target.queuedBytes += body.length;
    metrics.length(target.name, tenant, waiting.length);
    if (queue.sending < SENDERS) void this.#drain(queue);
  }

  /** One sender: sends until nothing waits. Never rejects. */
  async #drain(queue: Queue): Promise<void> {
    const { metrics } = this.#options;
    const { target, tenant, waiting } = queue;
    queue.sending++;
    for (let body = waiting.shift(); body !== undefined; body = waiting.shift()) {
      metrics.length(target.name, tenant, waiting.length);
      const sent = target.filter === undefined ? body : await target.filter.apply(body);
      if (sent !== undefined) {
        await Promise.all(target.clients.map((client) => this.#send(client, queue, sent)));
      }
      target.queuedBytes -= body.length;
    }
    queue.sending--;
    if (this.#isStopping && this.#isEmpty()) this.#drained.resolve();
  }

  async #send(client: UnaryClient, { target, tenant }: Queue, body: Uint8Array): Promise<void> {
    const { metrics, failures } = this.#options;
    try {
      await client.unary(EXPORT_PATH, body, { [TENANT_HEADER]: tenant });
      metrics.exported(target.name, true);
    } catch (err) {
      metrics.exported(target.name, false);
      failures.warn('failed to forward batches', { forwarder: target.name, tenant, err });
    }
  }

  #isEmpty(): boolean {
    return ![...this.#queues.values()].some(isBusy);
  }
}

/** What waits is being sent, or will be next. */
function isBusy(queues: ReadonlyMap<string, Queue | undefined>): boolean {
  return [...queues.values()].some((queue) => queue !== undefined && queue.sending > 0);
}

function filterOf(conditions: FilterSettings, i: number): SpanFilter | undefined {
  if (conditions.span.length === 0 && conditions.spanevent.length === 0) return undefined;
  try {
    return new SpanFilter(conditions);
  } catch (err) {
    if (!(err instanceof TempoError)) throw err;
    const what = `distributor.forwarders[${i}].filter.traces: ${err.message}`;
    throw new TempoError('invalid_argument', what, err);
  }
}

/** Refuses what Tempo refuses, naming the entry. */
function checkSettings(settings: readonly ForwarderSettings[]): void {
  const names = new Set<string>();
  for (const [i, { name, backend, otlpgrpc }] of settings.entries()) {
    const wrong = (what: string): TempoError =>
      new TempoError('invalid_argument', `distributor.forwarders[${i}]: ${what}`);
    if (name === '') throw wrong('name is empty');
    if (names.has(name)) throw wrong(`name ${name} is there twice`);
    names.add(name);
    if (backend !== 'otlpgrpc') throw wrong(`${backend} backend is not supported`);
    const { insecure, certFile } = otlpgrpc.tls;
    if (!insecure && certFile === '') throw wrong('otlpgrpc.tls.cert_file is empty, and insecure is not set');
    if (otlpgrpc.endpoints.length === 0) throw wrong('otlpgrpc.endpoints is empty');
  }
}
