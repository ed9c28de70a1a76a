// grpc.health.v1.Health: whether the process serves, whatever service is asked for, as probes and pools of
// connections ask. Messages: https://github.com/grpc/grpc-proto/blob/master/grpc/health/v1/health.proto
import { setTimeout as pause } from 'node:timers/promises';
import type { GrpcMethods } from './grpc-methods.ts';

/** HealthCheckResponse { status }. */
const SERVING = Uint8Array.of(0x08, 1);
const NOT_SERVING = Uint8Array.of(0x08, 2);
const WATCH_PAUSE_MS = 1000;

export const HEALTH_CHECK_PATH = '/grpc.health.v1.Health/Check';

/** Whether a HealthCheckResponse says that the peer is serving. */
export function isServing(response: Uint8Array): boolean {
  return Buffer.compare(response, SERVING) === 0;
}

export function addHealth(methods: GrpcMethods, isServing: () => boolean): void {
  const status = (): Uint8Array => (isServing() ? SERVING : NOT_SERVING);
  methods.unary(HEALTH_CHECK_PATH, async () => status());
  methods.serverStream('/grpc.health.v1.Health/Watch', async function* ({ signal }) {
    let told: Uint8Array | undefined;
    while (!signal.aborted) {
      const now = status();
      if (now !== told) yield now;
      told = now;
      await pause(WATCH_PAUSE_MS, undefined, { signal, ref: false }).catch(ignoreAbort);
    }
  });
}

function ignoreAbort(): void {
  // The watcher has left; the loop ends by that.
}
