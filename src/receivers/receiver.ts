// What every receiver is and gives: requests of any protocol, brought into the form of OTLP protobuf.
import type { AddressInfo } from 'node:net';
import type { TenantHeader } from '../model/tenant.ts';

export type BoundAddress = AddressInfo;

export interface IncomingTraces {
  /** Value of X-Scope-OrgID as it came; undefined = none. */
  readonly tenantHeader: TenantHeader;
  /** A serialised ExportTraceServiceRequest that nobody has checked. Valid until the answer. */
  readonly body: Uint8Array;
  readonly transport: 'grpc' | 'http';
}

/** What became of a request that was not refused as a whole. */
export interface Consumed {
  readonly rejectedSpans: number;
  /** Why spans were rejected; empty when none was. */
  readonly message: string;
}

export interface TraceConsumer {
  /** Rejects with TempoError when nothing of the request was kept. */
  consume(traces: IncomingTraces): Promise<Consumed>;
}

export interface Receiver {
  /** As in configuration: `otlp/grpc`. */
  readonly name: string;
  /** Binds and resolves with the address. */
  start(): Promise<BoundAddress>;
  /** Lets requests finish for so long, then cuts them. */
  stop(graceMs: number): Promise<void>;
}
