// Asks the queries of a suite in turn, some at a time, in a thread of its own: what it takes to read large
// answers is no part of how long others wait for theirs.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { type AskedCorpus, askAndDrop, type Query, type QueryTarget } from './queries.ts';

export type AskPlan = {
  readonly target: QueryTarget;
  readonly corpus: AskedCorpus;
  readonly queries: readonly Query[];
  /** Queries at a time. */
  readonly askers: number;
};

type Told = 'once' | 'begin' | 'end';

export type Asked = { readonly latencies: readonly number[]; readonly bad: number };

/** A thread that asks while it is told to. */
export class Asker {
  private readonly worker: Worker;
  private answer: ((asked: Asked) => void) | undefined;

  constructor(plan: AskPlan) {
    this.worker = new Worker(new URL(import.meta.url), { workerData: plan });
    this.worker.on('message', (asked: Asked) => this.answer?.(asked));
  }

  /** Asks each query once: none that counts is the first of its kind, for the server and for this thread. */
  warmUp(): Promise<Asked> {
    return this.tell('once');
  }

  begin(): void {
    this.worker.postMessage('begin');
  }

  /** Waits for the answers that are on their way. @returns the latencies since it began. */
  end(): Promise<Asked> {
    return this.tell('end');
  }

  async close(): Promise<void> {
    await this.worker.terminate();
  }

  private tell(what: Told): Promise<Asked> {
    const asked = new Promise<Asked>((resolve) => (this.answer = resolve));
    this.worker.postMessage(what);
    return asked;
  }
}

async function ask(
  { target, corpus, queries, askers }: AskPlan,
  isOn: (run: number) => boolean,
): Promise<Asked> {
  const latencies: number[] = [];
  let bad = 0;
  let next = 0;
  const drive = async (): Promise<void> => {
    for (let run = next++; isOn(run); run = next++) {
      const { ms, status } = await askAndDrop(queries[run % queries.length]!, target, corpus, run).catch(
        () => ({ ms: Infinity, status: 0 }),
      );
      latencies.push(ms);
      if (status !== 200) bad++;
    }
  };
  await Promise.all(Array.from({ length: askers }, drive));
  return { latencies, bad };
}

if (!isMainThread && parentPort !== null) {
  const port = parentPort;
  const plan = workerData as AskPlan;
  let isOn = false;
  let asking: Promise<Asked> | undefined;
  port.on('message', (told: Told) => {
    isOn = told === 'begin';
    if (told === 'begin') asking = ask(plan, () => isOn);
    else if (told === 'once') asking = ask(plan, (run) => run < plan.queries.length);
    if (told !== 'begin') void asking?.then((asked) => port.postMessage(asked));
  });
}
