// What is wrong with a configuration: each problem with its place (file and line, or flag), its dotted path
// and its text.

export interface Problem {
  /** `tempo.yaml:12`, or `-server.http-listen-port`. */
  readonly at: string;
  /** `server.http_listen_port`; empty when it concerns the file as a whole. */
  readonly path: string;
  readonly text: string;
}

/** Where those who look at a configuration write down what they find. */
export interface Notes {
  readonly problems: Problem[];
  readonly warnings: Problem[];
}

export function problemLine(problem: Problem): string {
  return [problem.at, problem.path, problem.text].filter((part) => part !== '').join(': ');
}

export class ConfigError extends Error {
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map(problemLine).join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}
