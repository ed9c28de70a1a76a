// Configurations as users bring them (test/config/users, and what Tempo 2.10 and 3.0 print as their
// defaults): each starts the whole program, or says in one line why not, with a warning for each key that is
// old, ignored or doubtful.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { run } from '../../src/app/run.ts';
import { FakeHost } from '../support/fake-host.ts';

const FOLDER = new URL('../config/', import.meta.url).pathname;
const LOCAL = ['-storage.trace.backend=local'];
const NOT_THERE = 'is not available in this build yet: the receiver is not started';
const NO_METRICS = 'metrics_generator: is not available in this build yet: no metrics are made of spans';
const NOT_STARTED = [
  `distributor.receivers.jaeger: ${NOT_THERE}`,
  `distributor.receivers.zipkin: ${NOT_THERE}`,
];

interface UserFile {
  readonly file: string;
  readonly warnings: readonly string[];
  /** Its blocks are in a cloud: it is started on a local folder here. */
  readonly isRemote?: boolean;
  /** Why it does not start as it is; undefined = it does. */
  readonly missing?: string;
}

const UNKNOWN_BACKEND = 'failed to create store: unknown backend "": it is not set, use local';

const FILES: readonly UserFile[] = [
  {
    file: 'users/complete-2.3.yaml',
    warnings: [
      'storage.trace.block.v2_index_downsample_bytes: has no effect, it is for blocks of version v2',
      ...NOT_STARTED,
    ],
    isRemote: true,
  },
  {
    file: 'users/distributed-s3.yaml',
    warnings: [NO_METRICS],
    isRemote: true,
  },
  {
    file: 'users/gcs.yaml',
    warnings: [],
    isRemote: true,
  },
  {
    file: 'users/metrics-generator.yaml',
    warnings: [
      'tempo.yaml:6: metrics_generator.processor.service_graphs.enabled: key without effect, ignored',
      'tempo.yaml:7: metrics_generator.processor.span_metrics.enabled: key without effect, ignored',
      'tempo.yaml:8: metrics_generator.remote_write: deprecated key, ' +
        'use metrics_generator.storage.remote_write',
      NO_METRICS,
    ],
    missing: UNKNOWN_BACKEND,
  },
  {
    file: 'users/minio.yaml',
    warnings: [],
    isRemote: true,
  },
  { file: 'users/monolithic-local.yaml', warnings: NOT_STARTED },
  {
    file: 'users/multitenancy.yaml',
    warnings: [
      ...['tenant_a', 'tenant_b'].map(
        (tenant, i) =>
          `tempo.yaml:${i + 5}: overrides.${tenant}: tenants belong into the file of ` +
          'overrides.per_tenant_override_config, used as if there',
      ),
      'distributor.log_received_spans: writes a log line for every span: for debugging, not for production',
    ],
    missing: UNKNOWN_BACKEND,
  },
  {
    file: 'users/operator-s3.yaml',
    warnings: [],
    isRemote: true,
  },
  {
    file: 'users/production.yaml',
    warnings: [
      'tempo.yaml:8: overrides.defaults.read.max_bytes_per_trace: deprecated key, ' +
        'use overrides.defaults.global.max_bytes_per_trace',
      NO_METRICS,
    ],
    isRemote: true,
  },
  { file: 'users/benchmark-2.10.yaml', warnings: [] },
  { file: 'users/benchmark-2.10-metrics.yaml', warnings: [NO_METRICS] },
  {
    file: 'users/benchmark-3.0.yaml',
    warnings: [
      'live_store: has no effect in a single process: ' +
        'how recent spans are kept is said by the ingester block',
    ],
  },
  { file: 'defaults-2.10.8.yaml', warnings: [], missing: UNKNOWN_BACKEND },
  { file: 'defaults-3.0.3.yaml', warnings: [], missing: UNKNOWN_BACKEND },
];

function temporaryFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'tempo-config-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The file on free ports of loopback and below the folder; nothing else is changed. */
function placed(folder: string, file: string): string {
  const text = withReceivers(readFileSync(FOLDER + file, 'utf8'))
    .replaceAll(/(?:0\.0\.0\.0|127\.0\.0\.1):(?:1[34])?(?:4317|4318|317|318)\b/g, '127.0.0.1:0')
    .replaceAll(/(_listen_port: )\d+/g, '$10')
    .replaceAll('/var/tempo', folder);
  const path = join(folder, 'tempo.yaml');
  writeFileSync(path, text);
  return path;
}

/** Where none is named, Tempo listens on port 4317, which others may have. */
function withReceivers(text: string): string {
  const receivers = "receivers: { otlp: { protocols: { grpc: { endpoint: '127.0.0.1:0' } } } }";
  if (text.includes('receivers: {}')) return text.replace('receivers: {}', receivers);
  if (text.includes('receivers:')) return text;
  if (!text.includes('distributor: {')) return `${text}distributor: { ${receivers} }\n`;
  return text.replace('distributor: {', `distributor: {${receivers}, `);
}

const told = (text: string, folder: string): string[] =>
  text
    .trimEnd()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.replaceAll(`${folder}/`, ''));

for (const { file, warnings, isRemote = false, missing } of FILES) {
  t.test(file, async (t) => {
    const folder = temporaryFolder(t);
    const env = { DATA: folder };
    const args = [`-config.file=${placed(folder, file)}`, '-config.expand-env=true', '-target=all'];
    const verified = new FakeHost([...args, '-config.verify'], env);
    t.equal(await run(verified), missing === undefined ? 0 : 1);
    const errors = missing === undefined ? [] : [`error: storage.trace.backend: ${missing}`];
    t.same(told(verified.stderr, folder), [...warnings.map((warning) => `warning: ${warning}`), ...errors]);
    const strict = new FakeHost([...args, '-config.verify=strict'], env);
    t.equal(await run(strict), warnings.length + errors.length > 0 ? 1 : 0, 'strict');
    if (missing !== undefined) {
      const host = new FakeHost(args, env);
      t.equal(await run(host), 1);
      const lines = told(host.stderr, folder);
      t.equal(lines.length, warnings.length + 1, 'warnings, and why it ends');
      const why = `${missing} (storage.trace.backend)`.replaceAll('"', String.raw`\"`);
      const end = ` level=error msg="error running Tempo" err="${why}"`;
      t.equal(lines.at(-1)?.slice(-end.length), end);
    }
    const places = [`-storage.trace.local.path=${folder}/b`, `-storage.trace.wal.path=${folder}/w`];
    const local = missing === undefined && !isRemote ? [] : [...LOCAL, ...places];
    const ports = ['-server.http-listen-port=0', '-server.grpc-listen-port=0'];
    await starts(t, new FakeHost([...args, ...local, ...ports, '-log.level=info'], env));
  });
}

async function starts(t: Test, host: FakeHost): Promise<void> {
  const started = host.prints('Tempo started');
  const ended = run(host);
  const first = await Promise.race([started.then(() => 'started'), ended.then(() => 'ended')]);
  t.equal(first, 'started', first === 'ended' ? host.stderr : '');
  if (first === 'ended') return;
  const port = /msg="server listens" address=\S+ port=(\d+)/.exec(host.stderr)?.[1];
  t.equal((await fetch(`http://127.0.0.1:${port}/ready`)).status, 200);
  host.signal('SIGTERM');
  t.equal(await ended, 0);
}
