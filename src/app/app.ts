// The running program: services started in order, stopped backwards, and whether all are ready.
import type { Service } from '../lib/service.ts';
import type { Logger } from '../telemetry/log.ts';

type State = 'new' | 'starting' | 'running' | 'stopping' | 'stopped';

/** As Tempo calls it. */
export type ServiceState = 'New' | 'Starting' | 'Running' | 'Stopping' | 'Terminated';

const STATE_NAMES: Readonly<Record<State, ServiceState>> = {
  new: 'New',
  starting: 'Starting',
  running: 'Running',
  stopping: 'Stopping',
  stopped: 'Terminated',
};

export class App {
  readonly #logger: Logger;
  #services: readonly Service[] = [];
  readonly #started: Service[] = [];
  readonly #states = new Map<string, State>();
  #state: State = 'new';
  #stopping: Promise<void> | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Rejects with the first service's error, after those that had started are stopped. */
  async start(services: readonly Service[]): Promise<void> {
    this.#services = services;
    this.#state = 'starting';
    for (const service of services) {
      if (this.#stopping !== undefined) return;
      const begin = performance.now();
      this.#states.set(service.name, 'starting');
      try {
        await service.start();
      } catch (err) {
        await this.stop();
        throw err;
      }
      this.#started.push(service);
      this.#states.set(service.name, 'running');
      const duration_ms = Math.round(performance.now() - begin);
      this.#logger.debug('module started', { module: service.name, duration_ms });
    }
    if (this.#stopping !== undefined) return;
    this.#state = 'running';
    for (const service of services) service.allStarted?.();
  }

  /** Stops what was started, last first. @param delayMs not ready for that long before. */
  stop(delayMs = 0): Promise<void> {
    this.#stopping ??= this.#stopAll(delayMs);
    return this.#stopping;
  }

  /** How much longer than usual the stop may take. */
  stopTakesMs(): number {
    return Math.max(0, ...this.#services.map((service) => service.stopTakesMs?.() ?? 0));
  }

  async #stopAll(delayMs: number): Promise<void> {
    this.#state = 'stopping';
    if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
    for (;;) {
      const service = this.#started.pop();
      if (service === undefined) break;
      const begin = performance.now();
      this.#states.set(service.name, 'stopping');
      try {
        await service.stop();
      } catch (err) {
        this.#logger.error('module did not stop cleanly', { module: service.name, err });
      }
      this.#states.set(service.name, 'stopped');
      const duration_ms = Math.round(performance.now() - begin);
      this.#logger.debug('module stopped', { module: service.name, duration_ms });
    }
    this.#state = 'stopped';
  }

  /** Of a module; one that has nothing to start is in the state of the whole. */
  stateOf(name: string): ServiceState {
    const isService = this.#services.some((service) => service.name === name);
    return STATE_NAMES[this.#states.get(name) ?? (isService ? 'new' : this.#state)];
  }

  /** Whether its modules run and are to, which they do before /ready says so: for health checks of gRPC. */
  get isServing(): boolean {
    return this.#state === 'running';
  }

  /** undefined = ready, else the text that /ready answers. */
  readiness(): string | undefined {
    if (this.#state === 'stopping' || this.#state === 'stopped') return 'Application is stopping';
    if (this.#state !== 'running') {
      const waiting = this.#services.length - this.#started.length;
      return `Some services are not Running:\nStarting: ${waiting}`;
    }
    for (const service of this.#services) {
      const reason = service.readiness?.();
      if (reason !== undefined) return reason;
    }
    return undefined;
  }
}
