// What the server tells its page in the browser about itself.

interface SendingPoint {
  /** As people call it: OTLP over gRPC. */
  readonly protocol: string;
  /** Empty = the host that the page came from. */
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  /** The environment variable of OpenTelemetry's SDKs needs to know. */
  readonly sdkProtocol: 'grpc' | 'http/protobuf';
}

export interface PageFacts {
  readonly version: string;
  /** Put before /api, empty or with a slash in front. */
  readonly apiPrefix: string;
  readonly multitenancy: boolean;
  readonly sendTo: readonly SendingPoint[];
}
