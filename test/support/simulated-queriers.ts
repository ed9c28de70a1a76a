// The queue of a query-frontend under a manual clock, and queriers that come, die amid their work and come
// back, are slow now and then, and fail. What must never happen is noted as a problem.
import { TempoError, TimeIsUpError } from '../../src/lib/errors.ts';
import { QueryQueue } from '../../src/modules/query-frontend/query-queue.ts';
import type {
  Answered,
  AnswerReader,
  HedgeOptions,
  PendingRequest,
  QuerierSlot,
} from '../../src/modules/query-frontend/queued-query.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import type { ManualClock } from './manual-clock.ts';

interface Asked {
  readonly name: string;
  readonly patience: AbortController;
  /** Those that have it. */
  readonly queriers: string[];
  begun: number;
  /** Without copies. */
  tries: number;
  /** It waits for no further querier. */
  isAnswered: boolean;
  /** Queriers whose answers are held. */
  held: number;
  /** The most that an answer had read that lacked something. */
  bestBytes: number;
  ended: string | undefined;
}

interface Work {
  readonly pending: PendingRequest;
  readonly asked: Asked;
  isOver: boolean;
}

interface Life {
  isOver: boolean;
}

type Said = Omit<Answered<never>, 'answer'>;

export interface SimulationOptions {
  readonly clock: ManualClock;
  readonly random: () => number;
  /** How often a query is begun, but for its copies. */
  readonly triesMax: number;
  /** Queriers die again and again for so long. */
  readonly unrestMs: number;
  /** Where it is not given queriers are neither slow nor fail. */
  readonly hedge: HedgeOptions | undefined;
}

const SLOW_MS = 2000;
/** Of what is done. */
const SLOW_SHARE = 0.05;
const FAILURE_SHARE = 0.05;
const INCOMPLETE_SHARE = 0.1;
/** When the time is over. */
const SO_FAR_SHARE = 0.8;
/** Until a querier opens a stream again that was ended. */
const PAUSE_MS = 100;

export class SimulatedQueriers {
  readonly queue: QueryQueue;
  readonly asked = new Map<string, Asked>();
  readonly problems: string[] = [];
  readonly doneBy = new Map<string, number>();
  hedgesBegun = 0;
  hedgesWon = 0;
  readonly #options: SimulationOptions;
  readonly #beginMs: number;
  readonly #work = new Map<QuerierSlot, Work>();
  readonly #joined = new Set<QuerierSlot>();

  constructor(options: SimulationOptions) {
    const { clock, triesMax } = options;
    this.#options = options;
    this.#beginMs = clock.nowMs();
    this.queue = new QueryQueue({
      tenantLengthMax: 1000,
      triesMax,
      queriersWaitMs: 3_600_000,
      clock,
      metrics: new Metrics(),
    });
  }

  /** @param livesMs time until it dies; it comes back, and dies again for a while. */
  start(clientId: string, slots: number, livesMs: number): void {
    const { clock, random, unrestMs } = this.#options;
    const life: Life = { isOver: false };
    const own = Array.from({ length: slots }, (): QuerierSlot => {
      const slot: QuerierSlot = {
        clientId,
        knowsWhole: true,
        start: (pending) => this.#run(slot, pending, life),
      };
      return slot;
    });
    for (const slot of own) this.#join(slot);
    clock.after(livesMs, () => {
      life.isOver = true;
      for (const slot of own) this.#lose(slot);
      const nextMs = clock.nowMs() - this.#beginMs < unrestMs ? random() * livesMs : 1e9;
      clock.after(random() * 500, () => this.start(clientId, slots, nextMs));
    });
  }

  ask(tenant: string, name: string): void {
    const patience = new AbortController();
    const asked: Asked = {
      name,
      patience,
      queriers: [],
      begun: 0,
      tries: 0,
      isAnswered: false,
      held: 0,
      bestBytes: 0,
      ended: undefined,
    };
    this.asked.set(name, asked);
    const end = (how: string): void => {
      if (asked.ended !== undefined) this.problems.push(`${name} ended twice`);
      if (how.startsWith('flaw') && asked.queriers.length > 0) {
        this.problems.push(`${name} failed while ${asked.queriers.join()} had it`);
      }
      asked.ended = how;
    };
    const request = { method: 'GET', url: name, headers: [], body: new Uint8Array(0) } as const;
    const { signal } = patience;
    const { hedge } = this.#options;
    this.queue.run({ tenant, request, isWhole: true, signal, hedge, begun: () => this.#reader(asked) }).then(
      ({ isComplete, inspectedBytes }) => {
        end('done');
        if (asked.held !== 1) this.problems.push(`${asked.held} answers to ${name} are held`);
        if (isComplete || inspectedBytes === asked.bestBytes) return;
        this.problems.push(`${name}: ${inspectedBytes} bytes were taken, and not ${asked.bestBytes}`);
      },
      (err: unknown) => {
        end(signal.aborted ? 'left' : String(err instanceof TempoError ? err : 'flaw'));
        if (asked.held !== 0) this.problems.push(`${asked.held} answers to ${name} are held`);
      },
    );
  }

  #reader(asked: Asked): AnswerReader<Said> {
    asked.held++;
    const { hedge, random } = this.#options;
    return {
      received: () => true,
      answer: () => {
        if (hedge !== undefined && random() < FAILURE_SHARE) throw new Error('flaw');
        const isSoFar = asked.patience.signal.aborted && random() < SO_FAR_SHARE;
        const isComplete = !isSoFar && (hedge === undefined || random() > INCOMPLETE_SHARE);
        const inspectedBytes = Math.floor(random() * 100);
        asked.isAnswered = true;
        if (!isComplete) asked.bestBytes = Math.max(asked.bestBytes, inspectedBytes);
        return { answer: { isComplete, inspectedBytes }, isComplete, inspectedBytes };
      },
      givenUp: () => void asked.held--,
    };
  }

  #join(slot: QuerierSlot): void {
    this.#joined.add(slot);
    this.queue.join(slot);
  }

  #run(slot: QuerierSlot, pending: PendingRequest, life: Life): void {
    const { clock, random, hedge } = this.#options;
    const asked = this.asked.get(pending.asked.request.url)!;
    const work: Work = { pending, asked, isOver: false };
    this.#work.set(slot, work);
    this.#check(slot, asked);
    const isHedge = asked.queriers.length > 0;
    asked.begun++;
    asked.queriers.push(slot.clientId);
    if (isHedge) this.hedgesBegun++;
    else asked.tries++;
    const isSlow = hedge !== undefined && random() < SLOW_SHARE;
    pending.signal.addEventListener('abort', () => {
      // Who leaves is noticed when the work is done.
      if (asked.patience.signal.aborted || !this.#over(slot, work)) return;
      pending.failed(pending.signal.reason);
      this.#joined.delete(slot);
      this.queue.leave(slot);
      clock.after(PAUSE_MS, () => {
        if (!life.isOver) this.#join(slot);
      });
    });
    clock.after(isSlow ? SLOW_MS : 20 + random() * 300, () => {
      if (!this.#over(slot, work)) return;
      this.doneBy.set(slot.clientId, (this.doneBy.get(slot.clientId) ?? 0) + 1);
      const others = asked.queriers.length;
      const { aborted, reason } = asked.patience.signal;
      if (aborted && !(reason instanceof TimeIsUpError)) pending.failed(reason);
      else pending.finished();
      if (others > 0 && asked.queriers.length === 0 && isHedge) this.hedgesWon++;
      if (asked.queriers.length === 0) asked.isAnswered = true;
      this.queue.free(slot);
    });
  }

  #check({ clientId }: QuerierSlot, { name, queriers, begun }: Asked): void {
    const { hedge, triesMax } = this.#options;
    const copiesMax = hedge?.copiesMax ?? 1;
    if (queriers.includes(clientId)) this.problems.push(`${clientId} has ${name} twice`);
    if (queriers.length >= copiesMax) this.problems.push(`${name} is with more than ${copiesMax} queriers`);
    if (begun >= triesMax + copiesMax - 1) this.problems.push(`${name} was begun ${begun + 1} times`);
    if (queriers.length === 0) return;
    for (const other of this.asked.values()) {
      if (this.#waits(other)) this.problems.push(`${name} had a copy while ${other.name} waited`);
    }
  }

  #waits({ queriers, isAnswered, patience, tries, ended }: Asked): boolean {
    const isOver = isAnswered || patience.signal.aborted || ended !== undefined;
    return queriers.length === 0 && !isOver && tries < this.#options.triesMax;
  }

  /** @returns whether it was not over before. */
  #over(slot: QuerierSlot, work: Work): boolean {
    if (work.isOver) return false;
    work.isOver = true;
    this.#work.delete(slot);
    const { queriers } = work.asked;
    queriers.splice(queriers.indexOf(slot.clientId), 1);
    return true;
  }

  #lose(slot: QuerierSlot): void {
    if (!this.#joined.delete(slot)) return;
    const work = this.#work.get(slot);
    this.queue.leave(slot);
    if (work !== undefined && this.#over(slot, work)) work.pending.lost('it died');
  }
}
