// One line in the log for each query, in Tempo's words, with the headers that the configuration names.
import { formatDuration } from '../../lib/duration.ts';
import { shortened } from '../../lib/shortened.ts';
import type { Logger } from '../../telemetry/log.ts';

export interface LoggedQuery {
  readonly tenant: string;
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly durationMs: number;
  readonly inspectedBytes: number;
  readonly responseBytes: number;
  readonly status: number;
  /** Why it was refused or failed. */
  readonly failure: unknown;
}

/** A query can be as long as a URL may be. */
const URL_LENGTH_MAX = 4096;
const HEADER_LENGTH_MAX = 1024;
const ERROR_LENGTH_MAX = 1024;

export class QueryLog {
  private readonly logger: Logger;
  private readonly headers: readonly string[];

  /** @param headers names, as in a comma list. */
  constructor(logger: Logger, headers: string) {
    this.logger = logger;
    this.headers = headers
      .split(',')
      .map((name) => name.trim().toLowerCase())
      .filter((name) => name !== '');
  }

  write(query: LoggedQuery): void {
    const headers = this.headers.flatMap((name) => {
      const value = query.headers[name];
      if (value === undefined) return [];
      return [[`header_${name.replaceAll('-', '_')}`, shortened(String(value), HEADER_LENGTH_MAX)] as const];
    });
    this.logger.info('query stats', {
      tenant: query.tenant,
      method: query.method,
      url: shortened(query.url, URL_LENGTH_MAX),
      duration: formatDuration(query.durationMs),
      ...Object.fromEntries(headers),
      inspected_bytes: query.inspectedBytes,
      response_size: query.responseBytes,
      status: query.status,
      ...errorField(query.failure),
    });
  }
}

function errorField(failure: unknown): { readonly error?: string } {
  if (failure === undefined) return {};
  return { error: shortened(failure instanceof Error ? failure.message : 'unknown', ERROR_LENGTH_MAX) };
}
