// A gRPC client for serialised messages: grpc-js, which keeps connections, comes back after failures and
// speaks TLS. Loaded only where something is sent to others.
import { readFile } from 'node:fs/promises';
import { type ErrorCode, TempoError } from '../lib/errors.ts';

export interface GrpcClientOptions {
  /** `host:port` */
  readonly address: string;
  /** undefined = plain text. */
  readonly tls?: { readonly certFile: string } | undefined;
}

export interface GrpcClient {
  /** Resolves with the answer's message. Rejects with TempoError. */
  unary(path: string, message: Uint8Array, headers: Readonly<Record<string, string>>): Promise<Uint8Array>;
  close(): void;
}

const CALL_TIMEOUT_MS = 10_000;

/** Connects with the first call, not before. Throws TempoError when the certificate cannot be read. */
export async function openGrpcClient({ address, tls }: GrpcClientOptions): Promise<GrpcClient> {
  const grpc = await import('@grpc/grpc-js');
  const credentials =
    tls === undefined
      ? grpc.credentials.createInsecure()
      : grpc.credentials.createSsl(await certificateOf(tls.certFile));
  const client = new grpc.Client(address, credentials);
  const same = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    unary: (path, message, headers) => {
      const metadata = new grpc.Metadata();
      for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
      const deadline = Date.now() + CALL_TIMEOUT_MS;
      return new Promise((resolve, reject) => {
        client.makeUnaryRequest(path, same, same, message, metadata, { deadline }, (err, answer) => {
          if (err === null) resolve(answer ?? new Uint8Array(0));
          else reject(new TempoError(codeOf(err.code), `${address}: ${err.details}`, err));
        });
      });
    },
    close: () => client.close(),
  };
}

async function certificateOf(file: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (err) {
    throw new TempoError('invalid_argument', `certificate ${file} cannot be read`, err);
  }
}

/** Whether trying again makes sense is all that callers want to know. */
function codeOf(status: number): ErrorCode {
  if (status === 4) return 'deadline_exceeded';
  return status === 14 ? 'unavailable' : 'internal';
}
