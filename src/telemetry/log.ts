// Structured logs: one event a line, a constant message and facts as fields. logfmt as Tempo writes it, or
// JSON.

type Level = 'debug' | 'info' | 'warn' | 'error';
export type LogFields = Readonly<Record<string, unknown>>;

export interface Logger {
  debug(msg: string, fields?: LogFields): void;
  info(msg: string, fields?: LogFields): void;
  warn(msg: string, fields?: LogFields): void;
  error(msg: string, fields?: LogFields): void;
  /** A logger that adds these fields to every line. */
  child(fields: LogFields): Logger;
}

const RANK: Readonly<Record<Level, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

export interface LogOptions {
  readonly level: Level;
  readonly format: 'logfmt' | 'json';
  readonly write: (line: string) => void;
  readonly now?: () => Date;
}

export function createLogger(options: LogOptions, fixed: LogFields = {}): Logger {
  const emit = (level: Level, msg: string, fields?: LogFields): void => {
    if (RANK[level] < RANK[options.level]) return;
    const ts = (options.now?.() ?? new Date()).toISOString();
    const all = { ts, level, msg, ...fixed, ...fields };
    options.write(options.format === 'json' ? `${JSON.stringify(all, plain)}\n` : `${logfmt(all)}\n`);
  };
  return {
    debug: (msg, fields) => emit('debug', msg, fields),
    info: (msg, fields) => emit('info', msg, fields),
    warn: (msg, fields) => emit('warn', msg, fields),
    error: (msg, fields) => emit('error', msg, fields),
    child: (fields) => createLogger(options, { ...fixed, ...fields }),
  };
}

/** Drops everything: for tests and tools. */
export const silentLogger: Logger = createLogger({ level: 'error', format: 'logfmt', write: () => {} });

export interface LineLimit {
  readonly linesPerSec: number;
  /** Called for each line that is dropped. */
  readonly dropped: () => void;
  /** Monotonic. */
  readonly nowMs: () => number;
}

/** A logger that drops what exceeds a number of lines a second. */
export function limitLines(logger: Logger, limit: LineLimit): Logger {
  const { linesPerSec, dropped, nowMs } = limit;
  let tokens = linesPerSec;
  let filledMs = nowMs();
  const mayWrite = (): boolean => {
    const now = nowMs();
    tokens = Math.min(linesPerSec, tokens + ((now - filledMs) * linesPerSec) / 1000);
    filledMs = now;
    if (tokens < 1) {
      dropped();
      return false;
    }
    tokens--;
    return true;
  };
  const limited = (to: Logger): Logger => ({
    debug: (msg, fields) => mayWrite() && to.debug(msg, fields),
    info: (msg, fields) => mayWrite() && to.info(msg, fields),
    warn: (msg, fields) => mayWrite() && to.warn(msg, fields),
    error: (msg, fields) => mayWrite() && to.error(msg, fields),
    child: (fields) => limited(to.child(fields)),
  });
  return limited(logger);
}

function logfmt(fields: LogFields): string {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${quote(text(value))}`)
    .join(' ');
}

function text(value: unknown): string {
  if (typeof value === 'string') return value;
  if (value instanceof Error) return errorText(value);
  return typeof value === 'object' && value !== null ? JSON.stringify(value, plain) : String(value);
}

function plain(_key: string, value: unknown): unknown {
  if (value instanceof Error) return errorText(value);
  return typeof value === 'bigint' ? value.toString() : value;
}

/** With its causes, each told once. */
function errorText({ message, cause }: Error): string {
  if (!(cause instanceof Error)) return message;
  const reason = errorText(cause);
  return message.endsWith(reason) ? message : `${message}: ${reason}`;
}

function quote(value: string): string {
  return /^[^\s="\\]+$/.test(value) ? value : JSON.stringify(value);
}
