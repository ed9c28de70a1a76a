// Processes that live together: each line that one writes gets its name before it. When one ends before all
// are ready, all end; later it is told of, and the others go on, as they would without it elsewhere.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';

const READY_PAUSE_MS = 200;

export interface Program {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Answers with 200 when the process is ready. */
  readonly readyUrl: string;
}

export class ProcessGroup {
  readonly #children: ChildProcess[] = [];
  readonly #running = new Set<ChildProcess>();
  #isReady = false;
  #isStopping = false;

  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** Starts all of them and waits until they are ready, or until the group stops. */
  async start(programs: readonly Program[]): Promise<void> {
    for (const program of programs) if (!this.#isStopping) this.#spawn(program);
    await Promise.all(programs.map(({ readyUrl }) => this.#untilReady(readyUrl)));
  }

  /** All that belongs to the group is ready. */
  ready(): void {
    this.#isReady = true;
  }

  /** The first started is the last to go: others need it. */
  async stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    const [first, ...others] = this.#children;
    await Promise.all(others.map(ended));
    if (first !== undefined) await ended(first);
  }

  #spawn({ name, command, args, env }: Program): void {
    const child = spawn(command, args, {
      stdio: ['ignore', 'inherit', 'pipe'],
      // Not in the terminal's group: Ctrl-C and our SIGTERM are two signals; the second ends at once.
      detached: true,
      env: { ...process.env, ...env },
    });
    this.#children.push(child);
    this.#running.add(child);
    const say = (text: string): void => void process.stderr.write(`${name.padEnd(18)} ${text}\n`);
    const lines = createInterface({ input: child.stderr! });
    lines.on('line', say);
    child.once('error', (err) => say(err.message));
    child.once('close', (code, signal) => {
      this.#running.delete(child);
      if (this.#isStopping) return;
      process.exitCode = code === 0 ? 1 : (code ?? 1);
      const goesOn = this.#isReady && this.#running.size > 0;
      const ending = signal === null ? `has ended with status ${code}` : `was ended by ${signal}`;
      say(`${ending}: ${goesOn ? 'the others go on' : 'all are stopped'}`);
      if (!goesOn) void this.stop();
    });
  }

  async #untilReady(url: string): Promise<void> {
    for (;;) {
      const isReady = await fetch(url).then(
        (response) => response.ok,
        () => false,
      );
      if (isReady || this.#isStopping) return;
      await pause(READY_PAUSE_MS);
    }
  }
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) resolve();
    else child.once('close', () => resolve());
    child.kill('SIGTERM');
  });
}
