// A host for src/app/run.ts that keeps what is printed and sends signals when a test says so.
import type { Host } from '../../src/app/run.ts';

export class FakeHost implements Host {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly exits: number[] = [];
  stdout = '';
  stderr = '';
  signal: (signal: string) => void = () => {};
  readonly #awaited = new Map<string, () => void>();

  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.args = args;
    this.env = env;
  }

  out(text: string): void {
    this.stdout += text;
    this.#tell(this.stdout);
  }

  err(text: string): void {
    this.stderr += text;
    this.#tell(this.stderr);
  }

  onSignal(listener: (signal: string) => void): void {
    this.signal = listener;
  }

  exit(code: number): void {
    this.exits.push(code);
  }

  /** Resolves when one of the streams contains the text. */
  prints(part: string): Promise<void> {
    return new Promise((resolve) => void this.#awaited.set(part, resolve));
  }

  #tell(text: string): void {
    for (const [part, found] of this.#awaited) if (text.includes(part)) found();
  }
}
