// A real etcd of one server for tests, plain or with TLS.
import { type RunningComponent, startComponent } from './component.ts';

export interface EtcdPlace {
  readonly folder: string;
  readonly port: number;
  readonly peerPort: number;
  /** Flags of TLS between it and its clients. */
  readonly tls?: readonly string[];
}

/** It comes back with what it had where it is started again in the same place. */
export function startEtcd({ folder, port, peerPort, tls = [] }: EtcdPlace): Promise<RunningComponent> {
  const url = `http${tls.length === 0 ? '' : 's'}://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  const own = `--name one --data-dir ${folder}`;
  const clients = `--listen-client-urls ${url} --advertise-client-urls ${url}`;
  const peers = `--listen-peer-urls ${peer} --initial-advertise-peer-urls ${peer}`;
  const cluster = `--initial-cluster one=${peer}`;
  const args = [...`${own} ${clients} ${peers} ${cluster}`.split(' '), ...tls];
  const door = tls.length === 0 ? { url: `${url}/health` } : { port };
  return startComponent('ETCD', args, { env: { ETCD_UNSUPPORTED_ARCH: process.arch }, ...door });
}
