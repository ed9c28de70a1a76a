// The scheduler of another process, by gRPC.
import {
  type JobReport,
  type JobSource,
  LEAVE_PATH,
  NEXT_PATH,
  nextRequest,
  type OfferedJob,
  offeredJob,
  UPDATE_PATH,
  updateRequest,
} from '../../contracts/jobs.ts';
import { TempoError } from '../../lib/errors.ts';
import { type GrpcClient, type GrpcClientOptions, openGrpcClient } from '../../rpc/grpc-client.ts';

export interface SchedulerClientOptions extends GrpcClientOptions {
  /** How long the scheduler lets a worker wait for a job. */
  readonly waitMs: number;
}

/** For the way there and back. */
const WAY_MS = 15_000;
/** Whoever stops does not wait for long. */
const LEAVE_MS = 1000;

export class SchedulerClient implements JobSource {
  private readonly options: SchedulerClientOptions;
  private client: Promise<GrpcClient> | undefined;

  constructor(options: SchedulerClientOptions) {
    this.options = options;
  }

  /** Rejects when a certificate cannot be read. */
  async open(): Promise<void> {
    this.client = openGrpcClient(this.options);
    await this.client;
  }

  async close(): Promise<void> {
    (await this.client)?.close();
  }

  async next(workerId: string, signal: AbortSignal): Promise<OfferedJob | undefined> {
    const timeoutMs = this.options.waitMs + WAY_MS;
    try {
      const answer = await this.call(NEXT_PATH, nextRequest(workerId), { timeoutMs, signal });
      const offered = offeredJob(answer);
      return offered.jobId === '' ? undefined : offered;
    } catch (err) {
      if (err instanceof TempoError && err.code === 'not_found') return undefined;
      throw err;
    }
  }

  async report(report: JobReport): Promise<void> {
    await this.call(UPDATE_PATH, updateRequest(report), {});
  }

  async leave(workerId: string): Promise<void> {
    await this.call(LEAVE_PATH, nextRequest(workerId), { timeoutMs: LEAVE_MS });
  }

  private async call(
    path: string,
    message: Uint8Array,
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ): Promise<Uint8Array> {
    const client = await this.client;
    if (client === undefined) throw new TempoError('unavailable', 'the connection is not open');
    return client.unary(path, message, {}, options);
  }
}
