// The folder in which a server keeps its data: who may look into it, how much may be in it, and that no
// secret of the configuration leaves the process.
import { lstatSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { aSpan, encodeTraces, hexId } from '../support/otlp.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

/** @param local more keys of `storage.trace.local`. */
function configText(local: string, more = ''): string {
  return `
server: {http_listen_address: 127.0.0.1, http_listen_port: \${HTTP_PORT}, grpc_listen_address: 127.0.0.1,
  grpc_listen_port: \${GRPC_PORT}, log_level: debug}
distributor:
  receivers:
    otlp:
      protocols:
        grpc: {endpoint: '127.0.0.1:\${OTLP_GRPC_PORT}'}
        http: {endpoint: '127.0.0.1:\${OTLP_HTTP_PORT}'}
${more}
storage: {trace: {backend: local, local: {path: '\${DATA}/blocks'${local}}, wal: {path: '\${DATA}/wal'}}}
`;
}

function start(
  folder: string,
  text: string,
  env: Readonly<Record<string, string>> = {},
): Promise<RunningTempo> {
  const configFile = join(folder, 'tempo.yaml');
  writeFileSync(configFile, text);
  return startTempo(folder, { configFile, args: ['-config.expand-env=true'], env });
}

/** Sends one span and waits until its block is in the backend. */
async function keep(tempo: RunningTempo, trace: number): Promise<void> {
  const startUnixNano = BigInt(Date.now() - 60_000 + trace * 1000) * 1_000_000n;
  const span = aSpan({ traceId: hexId(trace, 16), startUnixNano, endUnixNano: startUnixNano + 5n });
  const sent = await fetch(`http://127.0.0.1:${tempo.ports.otlpHttp}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf' },
    body: Buffer.from(encodeTraces([span])),
  });
  if (sent.status !== 200) throw new Error(`not taken: ${sent.status}`);
  await tempo.get('/flush');
}

const metric = async (tempo: RunningTempo, name: string): Promise<number> => {
  const text = await (await tempo.get('/metrics')).text();
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1]);
};

t.test('nobody else reads the data, whatever the umask', async (t) => {
  const before = process.umask(0);
  const tempo = await start(testFolder(t), configText('')).finally(() => process.umask(before));
  t.teardown(() => tempo.kill());
  await keep(tempo, 1);
  const seen = { folders: 0, files: 0 };
  for (const root of ['blocks', 'wal']) {
    const path = join(tempo.data, root);
    for (const name of ['.', ...readdirSync(path, { recursive: true, encoding: 'utf8' })]) {
      const { mode } = lstatSync(join(path, name));
      const [kind, bits] = [mode & 0o170000, mode & 0o777];
      if (kind === 0o040000) t.equal(bits, 0o700, `${root}/${name}`);
      else if (kind === 0o100000) t.equal(bits, 0o600, `${root}/${name}`);
      if (kind === 0o040000) seen.folders++;
      else seen.files++;
    }
  }
  t.ok(seen.folders >= 8 && seen.files >= 9, JSON.stringify(seen));
});

t.test('a bound on what is kept: the oldest blocks go', async (t) => {
  const max = 60_000;
  const tempo = await start(testFolder(t), configText(`, max_bytes: ${max}`));
  t.teardown(() => tempo.kill());
  t.equal(await metric(tempo, 'tempodb_size_limit_bytes'), max);
  t.equal(await metric(tempo, 'tempodb_size_deleted_blocks_total'), 0);
  const blocks = (): number => readdirSync(join(tempo.data, 'blocks', 'single-tenant')).length;
  await keep(tempo, 1);
  t.equal(blocks(), 1);
  const sizeBytes = await metric(tempo, 'tempodb_size_bytes');
  t.ok(sizeBytes > 1000 && sizeBytes < max, `${sizeBytes} bytes`);
  let count = 1;
  while ((await metric(tempo, 'tempodb_size_deleted_blocks_total')) === 0 && count < 50) {
    await keep(tempo, ++count);
  }
  t.ok(count < 50, `after ${count} blocks`);
  t.ok(blocks() < count);
  t.match(tempo.output(), 'msg="oldest block is deleted to make room"');
  t.match(await (await tempo.get('/metrics')).text(), /^tempodb_retention_errors_total 0$/m);
  t.equal(await tempo.stop(), 0);
});

t.test('secrets stay inside, also at log level debug', async (t) => {
  const secrets = `
ingester: {lifecycler: {ring: {kvstore: {consul: {acl_token: hush-1}}}}}
cache: {caches: [{roles: [bloom], redis: {endpoint: r, password: hush-2}}]}
metrics_generator:
  storage: {remote_write: [{url: 'http://me:hush-3@p/w', basic_auth: {username: me, password: '\${WORD}'}}]}
overrides: {user_configurable_overrides: {client: {s3: {secret_key: hush-5}}}}
`;
  const env = { WORD: 'hush-4' };
  const tempo = await start(testFolder(t), configText('', secrets), env);
  t.teardown(() => tempo.kill());
  const config = await (await tempo.get('/status/config')).text();
  t.notMatch(config, 'hush');
  t.match(config, /password: <secret>/);
  await keep(tempo, 1);
  t.equal(await tempo.stop(), 0);
  t.notMatch(tempo.output(), 'hush');
  t.match(tempo.output(), 'level=debug');
});
