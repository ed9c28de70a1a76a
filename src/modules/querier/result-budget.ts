// Memory for the answers of searches, from the first job until they are sent, and for those of metrics
// queries from when their series are made. One whose answer would be too much beside the others waits:
// tenants take turns, and none of them holds all of it. Small ones never wait.
import { requestCancelled, TempoError } from '../../lib/errors.ts';
import { noteReleasedBytes } from '../../lib/garbage.ts';
import type { Counter, Metrics } from '../../telemetry/metrics.ts';

/** Answers that are expected to be smaller are begun whatever others hold. */
const SMALL_BYTES = 1 << 20;
const LET_GO_MS = 100;
/** Searches and metrics queries of a tenant that wait, and of all; more are refused. */
const TENANT_WAITING_MAX = 100;
const WAITING_MAX = 1000;
/** What one tenant may hold of the whole: the rest is for the others. A larger answer counts as this. */
const TENANT_SHARE = 3 / 4;
/** With so much of its share free a tenant may begin an answer of any size, which counts as what is free. */
const ENOUGH_OF_SHARE = 3 / 4;

export interface ResultBudgetOptions {
  readonly bytesMax: number;
  /** Longest wait; 0 = no bound. */
  readonly waitMs: number;
  readonly metrics: Metrics;
  /** Told what all answers really take whenever that changes. */
  readonly taken: (bytes: number) => void;
}

/** The memory of one answer. */
export interface ResultLease {
  /** How much was found so far. */
  found(bytes: number): void;
  /** How much it really is. */
  holds(bytes: number): void;
  drop(): void;
}

interface Waiting {
  readonly bytes: number;
  /** @param counted what it counts as. */
  readonly begin: (counted: number) => void;
}

interface Turn {
  readonly account: Account;
  readonly waiting: Waiting;
  /** What it is to count as. */
  readonly counted: number;
}

/** A tenant that holds or wants memory. */
interface Account {
  readonly tenant: string;
  /** Answers that are made, sent or wait. */
  answers: number;
  countedBytes: number;
  /** In their order. */
  readonly waiting: Set<Waiting>;
}

export class ResultBudget {
  private readonly options: ResultBudgetOptions;
  private readonly refused: Counter;
  /** In the order of their turns. */
  private readonly accounts = new Map<string, Account>();
  private heldBytes = 0;
  private countedBytes = 0;
  /** What was found for answers until now. */
  private foundBytes = 0;

  constructor(options: ResultBudgetOptions) {
    this.options = options;
    const { metrics, bytesMax } = options;
    metrics.gauge(
      'tempo_querier_result_bytes',
      'Answers of searches and metrics queries that are made or sent.',
      [],
      (gauge) => gauge.set(this.heldBytes),
    );
    metrics
      .gauge(
        'tempo_querier_result_bytes_max',
        'Above it searches and metrics queries with large answers wait.',
      )
      .set(bytesMax);
    metrics.gauge(
      'tempo_querier_waiting_searches',
      'Searches and metrics queries that wait for memory of their answers.',
      [],
      (gauge) => gauge.set(this.waitingCount),
    );
    this.refused = metrics.counter(
      'tempo_querier_refused_searches_total',
      'Searches and metrics queries that were refused: answers in work held too much memory for too long.',
    );
  }

  /** @param bytes that the answer may have. */
  async take(tenant: string, bytes: number, signal: AbortSignal | undefined): Promise<ResultLease> {
    const account = this.accountOf(tenant);
    account.answers++;
    let counted = this.counted(bytes);
    try {
      if (bytes <= SMALL_BYTES) this.count(account, bytes, counted);
      else counted = await this.wait(account, bytes, signal);
    } catch (err) {
      this.forget(account);
      throw err;
    }
    let held = bytes;
    let foundBytes = 0;
    let isDropped = false;
    const found = (actual: number): void => {
      if (isDropped || actual === foundBytes) return;
      this.foundBytes += actual - foundBytes;
      foundBytes = actual;
      this.options.taken(this.foundBytes);
    };
    return {
      found,
      holds: (actual) => {
        if (isDropped) return;
        this.count(account, -held, -counted);
        held = actual;
        counted = this.counted(actual);
        this.count(account, held, counted);
        found(actual);
        this.beginWaiting();
      },
      drop: () => {
        if (isDropped) return;
        found(0);
        isDropped = true;
        this.letGo(account, held, counted);
      },
    };
  }

  /** Might one that asks for so many bytes now have to wait? */
  mayWait(tenant: string, bytes: number): boolean {
    if (bytes <= SMALL_BYTES) return false;
    const counted = this.countedInShare(this.accounts.get(tenant)?.countedBytes ?? 0, bytes);
    return counted === undefined || !this.hasRoom(counted) || this.waitingCount > 0;
  }

  private accountOf(tenant: string): Account {
    let account = this.accounts.get(tenant);
    if (account === undefined) {
      account = { tenant, answers: 0, countedBytes: 0, waiting: new Set() };
      this.accounts.set(tenant, account);
    }
    return account;
  }

  private forget(account: Account): void {
    if (--account.answers === 0) this.accounts.delete(account.tenant);
  }

  private count(account: Account, bytes: number, counted: number): void {
    account.countedBytes += counted;
    this.countedBytes += counted;
    this.heldBytes += bytes;
  }

  private counted(bytes: number): number {
    return Math.min(bytes, this.tenantBytesMax);
  }

  /**
   * What an answer would count as beside what its tenant holds; undefined = its share has no room for it.
   * Little that is left of others, which nobody may read any more, does not hold up a large one.
   */
  private countedInShare(heldBytes: number, bytes: number): number | undefined {
    const counted = this.counted(bytes);
    const free = this.tenantBytesMax - heldBytes;
    const enough = Math.min(counted, this.tenantBytesMax * ENOUGH_OF_SHARE);
    return free < enough ? undefined : Math.min(counted, free);
  }

  private hasRoom(counted: number): boolean {
    return this.countedBytes === 0 || this.countedBytes + counted <= this.options.bytesMax;
  }

  private get tenantBytesMax(): number {
    return this.options.bytesMax * TENANT_SHARE;
  }

  private get waitingCount(): number {
    let count = 0;
    for (const { waiting } of this.accounts.values()) count += waiting.size;
    return count;
  }

  /**
   * A large answer counts until its memory is free, as whoever has just sent it still refers to it: in the
   * whole only, since a tenant that asks again at once would wait for what it has already had.
   */
  private letGo(account: Account, bytes: number, counted: number): void {
    account.countedBytes -= counted;
    this.forget(account);
    const free = (): void => {
      this.countedBytes -= counted;
      this.heldBytes -= bytes;
      this.beginWaiting();
    };
    if (bytes <= SMALL_BYTES) return free();
    setTimeout(() => {
      noteReleasedBytes(bytes);
      free();
    }, LET_GO_MS);
    this.beginWaiting();
  }

  /** Until it is its turn: the bytes are counted then. @returns what they count as. */
  private wait(account: Account, bytes: number, signal: AbortSignal | undefined): Promise<number> {
    if (account.waiting.size >= TENANT_WAITING_MAX || this.waitingCount >= WAITING_MAX) {
      return Promise.reject(this.refusal());
    }
    if (signal?.aborted === true) return Promise.reject(requestCancelled());
    const { waitMs } = this.options;
    return new Promise((resolve, reject) => {
      const over = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        account.waiting.delete(waiting);
      };
      const leave = (reason: TempoError): void => {
        over();
        reject(reason);
        this.beginWaiting(); // it may have stood in the way of others
      };
      const waiting: Waiting = {
        bytes,
        begin: (counted) => {
          over();
          resolve(counted);
        },
      };
      const onAbort = (): void => leave(requestCancelled());
      const timer = waitMs > 0 ? setTimeout(() => leave(this.refusal()), waitMs) : undefined;
      signal?.addEventListener('abort', onAbort, { once: true });
      account.waiting.add(waiting);
      this.beginWaiting();
    });
  }

  private beginWaiting(): void {
    for (let next = this.nextTurn(); next !== undefined; next = this.nextTurn()) {
      const { account, waiting, counted } = next;
      this.count(account, waiting.bytes, counted);
      this.accounts.delete(account.tenant);
      this.accounts.set(account.tenant, account);
      waiting.begin(counted);
    }
  }

  /**
   * Who is next, if there is room. One that needs more than is left holds up all others, so that it comes to
   * its turn; one whose own tenant has its share only those of this tenant.
   */
  private nextTurn(): Turn | undefined {
    for (const account of this.accounts.values()) {
      const [waiting] = account.waiting;
      if (waiting === undefined) continue;
      const counted = this.countedInShare(account.countedBytes, waiting.bytes);
      if (counted === undefined) continue;
      return this.hasRoom(counted) ? { account, waiting, counted } : undefined;
    }
    return undefined;
  }

  /** Of one that has waited for too long, or need not begin to. */
  refusal(): TempoError {
    this.refused.inc();
    const { bytesMax } = this.options;
    const held = `answers hold ${this.heldBytes} bytes of at most ${bytesMax}`;
    return new TempoError('resource_exhausted', `${held}, try again later, or ask for less`);
  }
}

/**
 * The signal of a query is raised when its answer has been sent, if not before: what is answered after the
 * time of the query is over does not count.
 */
export function keepUntilSent(lease: ResultLease, bytes: number, signal: AbortSignal | undefined): void {
  if (signal === undefined || signal.aborted) return lease.drop();
  lease.holds(bytes);
  signal.addEventListener('abort', () => lease.drop(), { once: true });
}
