// The image: built by buildah, run once as the charts run it: user 10001, read-only root, only /var/tempo and
// /tmp writable. And what config/compose.yaml mounts into others is accepted by their own programs.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import t, { type Test } from 'tap';
import { freePorts, type Ports } from '../support/server.ts';
import { componentPath, runComponent } from './component.ts';
import { testFolder } from '../support/test-folder.ts';

const USER = 10001;
const TAG = 'localhost/tempo-under-test';

/** Runs to the end. @returns the standard output. */
function run(command: string, args: readonly string[], input?: { readonly cwd: string }): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(command, args, { maxBuffer: 1 << 26, ...input }, (err, stdout, stderr) => {
      if (err === null) resolve(stdout);
      else reject(new Error(`${command} ${args.join(' ')}: ${err.message}\n${stdout}\n${stderr}`));
    });
  });
}

function buildah(...args: readonly string[]): Promise<string> {
  const storage = componentPath('IMAGE_STORAGE');
  const where = [
    '--storage-driver',
    'vfs',
    '--root',
    join(storage, 'root'),
    '--runroot',
    join(storage, 'run'),
  ];
  return run('buildah', [...where, ...args]);
}

/** Builds the image on the bases of `.ci/image-bases`. @returns the folder of a container's root. */
async function builtRoot(t: Test): Promise<string> {
  const bases = ['BUILD_BASE=localhost/tempo-build-base', 'BASE=localhost/tempo-base'];
  const baseArgs = bases.flatMap((base) => ['--build-arg', base]);
  await buildah('bud', '--isolation', 'chroot', ...baseArgs, '-t', TAG, '.');
  const container = (await buildah('from', TAG)).trim();
  t.teardown(async () => {
    await buildah('rm', container);
    await buildah('rmi', TAG);
  });
  return (await buildah('mount', container)).trim();
}

function configText(ports: Ports): string {
  return `
server: { http_listen_port: ${ports.http}, grpc_listen_port: ${ports.grpc} }
distributor:
  receivers:
    otlp:
      protocols:
        grpc: { endpoint: '0.0.0.0:${ports.otlpGrpc}' }
        http: { endpoint: '0.0.0.0:\${OTLP_HTTP_PORT}' }
storage: { trace: { backend: local, local: { path: /var/tempo/blocks }, wal: { path: /var/tempo/wal } } }
`;
}

/** A command in the root as a pod has it, in mounts of its own. */
function inPod(
  root: string,
  folder: string,
  env: readonly string[],
  command: readonly string[],
): ChildProcess {
  const script = [
    'set -e; root=$1; folder=$2; shift 2',
    'mount --make-rprivate /',
    'mount --bind "$root" "$root"',
    'mount -t tmpfs tmpfs "$root/tmp"; chmod 1777 "$root/tmp"',
    'mount -t proc proc "$root/proc"',
    'mount --bind "$folder/data" "$root/var/tempo"',
    'mount --bind "$folder/conf" "$root/conf"',
    'mount -o remount,ro,bind "$root"; mount -o remount,ro,bind "$root/conf"',
    `exec chroot --userspec=${USER}:${USER} "$root" "$@"`,
  ].join('\n');
  const mounted = ['--mount', 'bash', '-c', script, 'bash', root, folder];
  const clean = ['/usr/bin/env', '-i', 'PATH=/usr/local/bin:/usr/bin:/bin', ...env];
  return spawn('unshare', [...mounted, ...clean, ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
}

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

async function ended(child: ChildProcess): Promise<Ended> {
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

t.setTimeout(900_000);

t.test('the image runs as the charts run it', async (t) => {
  const root = await builtRoot(t);
  const image = JSON.parse(await buildah('inspect', '--type', 'image', TAG)) as {
    OCIv1: { config: { User: string; Entrypoint: string[]; Env: string[] } };
  };
  const { User: user, Entrypoint: entrypoint, Env: env } = image.OCIv1.config;
  t.equal(user, `${USER}:${USER}`);
  t.same(entrypoint, ['/tempo']);

  const folder = testFolder(t, { data: {}, conf: {} });
  chownSync(join(folder, 'data'), USER, USER);
  const ports = await freePorts();
  writeFileSync(join(folder, 'conf', 'tempo.yaml'), configText(ports));
  const pod = (...command: readonly string[]): Promise<Ended> => ended(inPod(root, folder, env, command));

  const version = await pod('/tempo', '-version');
  t.match(version, { code: 0, output: /^tempo, version \d/ });
  const search = ['/', '-xdev', '-path', '/proc', '-prune', '-o', '-type', 'd', '-writable', '-print'];
  const { output } = await pod('/usr/bin/find', ...search);
  const folders = output.split('\n').filter((line) => line.startsWith('/') && !line.includes(': '));
  t.same(folders.toSorted(), ['/tmp', '/var/tempo'], 'nothing else can be written');

  const flags = ['-target=all', '-config.file=/conf/tempo.yaml', '-config.expand-env=true'];
  const server = inPod(
    root,
    folder,
    [...env, `OTLP_HTTP_PORT=${ports.otlpHttp}`],
    ['/tempo', ...flags, '-log.level=info', '-mem-ballast-size-mbs=1024'],
  );
  t.teardown(() => server.kill('SIGKILL'));
  const stopped = ended(server);
  const url = `http://127.0.0.1:${ports.http}`;
  const ask = (path: string): Promise<Ended> => pod('/usr/bin/wget', '-qO-', `${url}${path}`);
  let ready = await ask('/ready');
  while (ready.code !== 0 && server.exitCode === null) ready = await ask('/ready');
  t.equal(ready.output, 'ready\n', server.exitCode === null ? '' : (await stopped).output);
  t.match((await ask('/metrics')).output, 'tempo_build_info');
  t.match(readFileSync(`/proc/${server.pid}/status`, 'utf8'), `Uid:\t${USER}\t${USER}`);
  const page = await fetch(url, { headers: { accept: 'text/html' } });
  t.match(await page.text(), /app\.js/, 'the page is there');

  const to = [`-tempo-query-url=${url}`, `-tempo-push-url=http://127.0.0.1:${ports.otlpGrpc}`];
  const checked = await pod('/tempo-vulture', ...to, '-validation-mode');
  t.equal(checked.code, 0, checked.output);
  server.kill('SIGTERM');
  t.equal((await stopped).code, 0, (await stopped).output);
});

t.test('what compose mounts is accepted', async (t) => {
  // As they lie in the container.
  const folder = testFolder(t, {});
  for (const path of ['config/compose/prometheus.yaml', 'config/alerts.yaml']) {
    copyFileSync(path, join(folder, basename(path)));
  }
  const check = ['check', 'config', join(folder, 'prometheus.yaml')];
  t.match(await runComponent('PROMTOOL', check), /SUCCESS.*\d+ rules found/s);
  await runComponent('COLLECTOR', ['validate', '--config=config/compose/collector.yaml']);
  rmSync(join(folder, 'alerts.yaml'));
  await t.rejects(runComponent('PROMTOOL', check));
});
