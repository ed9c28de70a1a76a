// Where requests to S3 take their credentials from, and when they look for new ones.
import type { S3Settings } from './settings.ts';

interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration?: Date;
}

type Provider = () => Promise<Credentials>;

/** Files are read again after that: what renews them writes no date into them. */
const RENEW_MS = 5 * 60_000;
/** The SDK asks for new ones so long before the old ones end. */
const EARLY_MS = 5 * 60_000;

/** Those of the configuration, MinIO's of the environment, or what Amazon's chain finds (IRSA, roles). */
export async function s3Credentials(
  { accessKey, secretKey, sessionToken }: S3Settings,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Credentials | Provider> {
  if (accessKey !== '' || secretKey !== '') {
    return {
      accessKeyId: accessKey,
      secretAccessKey: secretKey,
      ...(sessionToken === '' ? {} : { sessionToken }),
    };
  }
  const user = env['MINIO_ROOT_USER'] ?? env['MINIO_ACCESS_KEY'];
  const password = env['MINIO_ROOT_PASSWORD'] ?? env['MINIO_SECRET_KEY'];
  if (env['AWS_ACCESS_KEY_ID'] === undefined && user !== undefined && password !== undefined) {
    return { accessKeyId: user, secretAccessKey: password };
  }
  const { fromNodeProviderChain } = await import('@aws-sdk/credential-providers');
  return renewing(fromNodeProviderChain({ ignoreCache: true }));
}

/** Credentials without an end get one; where new ones cannot be had, the old ones go on while they may. */
export function renewing(provider: Provider, nowMs: () => number = Date.now): Provider {
  let last: Credentials | undefined;
  const untilMs = ({ expiration }: Credentials): number => expiration?.getTime() ?? Infinity;
  return async () => {
    try {
      last = await provider();
    } catch (err) {
      if (last === undefined || untilMs(last) <= nowMs()) throw err;
    }
    const expiration = last.expiration ?? new Date(nowMs() + RENEW_MS + EARLY_MS);
    return { ...last, expiration };
  };
}
