// The error of everything that is wrong with a query text: where and what.

export class TraceqlError extends Error {
  /** 1-based; 0 when the error has no place (validation). */
  readonly line: number;
  readonly column: number;

  constructor(message: string, line = 0, column = 0) {
    super(line === 0 ? message : `parse error at line ${line}, col ${column}: ${message}`);
    this.name = 'TraceqlError';
    this.line = line;
    this.column = column;
  }
}

/** Syntax that we accept and cannot execute. */
export function unsupported(feature: string): TraceqlError {
  return new TraceqlError(`${feature} not yet supported`);
}
