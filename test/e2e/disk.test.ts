// Disks that are full, read-only or shared, and logs that are torn or damaged: what was acknowledged stays,
// what cannot be kept is refused, and the process tells it. The tests with a disk of their own need the
// right to mount one.
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { framed, grpcExport, grpcSession, httpExport, metric, until } from '../support/hostile.ts';
import { aTrace, encodeTraces, hexId } from '../support/otlp.ts';
import { flush, spansOfTrace } from '../support/read-api.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { testFolder } from '../support/test-folder.ts';

const SPANS = 20;
const UNAVAILABLE = 14;

/** What the traces carry, so that a few fill a small disk. */
const FILLER = 'x'.repeat(2000);

function bodyOf(id: number): Uint8Array {
  const startUnixNano = BigInt(Date.now()) * 1_000_000n;
  const attributes = (i: number): [string, string][] => [['filler', `${id} ${i} ${FILLER}`]];
  return encodeTraces(
    aTrace(id, SPANS, (i) => ({ startUnixNano, endUnixNano: startUnixNano, attributes: attributes(i) })),
  );
}

async function push(tempo: RunningTempo, id: number): Promise<number> {
  return (await httpExport(tempo, bodyOf(id))).status;
}

async function lost(tempo: RunningTempo, ids: readonly number[]): Promise<number[]> {
  const missing: number[] = [];
  for (const id of ids) if ((await spansOfTrace(tempo, hexId(id, 16))) !== SPANS) missing.push(id);
  return missing;
}

function mountTmpfs(folder: string, options: string): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder], { stdio: 'ignore' });
}

/** A small disk of its own. */
function mounted(t: Test, options: string): string {
  const folder = fs.mkdtempSync(path.join(tmpdir(), 'tempo-disk-'));
  mountTmpfs(folder, options);
  t.teardown(() => {
    execFileSync('umount', ['-l', folder]);
    fs.rmdirSync(folder);
  });
  return folder;
}

function canMount(): boolean {
  const folder = fs.mkdtempSync(path.join(tmpdir(), 'tempo-disk-'));
  try {
    mountTmpfs(folder, 'size=1m');
    execFileSync('umount', [folder]);
    return true;
  } catch {
    return false;
  } finally {
    fs.rmdirSync(folder);
  }
}

/** In CI a disk that cannot be mounted is a failure. */
const skip = process.env['CI'] === 'true' || canMount() ? false : 'mounting a disk is not allowed';

t.test('a full disk', { timeout: 60_000, skip }, async (t) => {
  const data = mounted(t, 'size=3m');
  const tempo = await startTempo(data, { wal: 'min_free: 0B' });
  t.teardown(() => tempo.kill());
  const session = await grpcSession(tempo);
  const kept: number[] = [];
  const refused: number[] = [];
  for (let id = 1; refused.length < 5 && id < 1000; id++) {
    const status = await push(tempo, id);
    if (status === 200) kept.push(id);
    else refused.push(status);
  }
  t.strictSame(refused, Array(5).fill(503), `refused after ${kept.length} traces`);
  t.equal((await grpcExport(session, framed(bodyOf(5000)))).status, UNAVAILABLE);
  t.strictSame(await lost(tempo, kept), [], 'what was acknowledged is answered on the full disk');
  t.equal((await tempo.get('/flush')).status, 500, 'a flush says that it failed');
  t.strictSame(await lost(tempo, kept), [], 'and loses nothing');
  execFileSync('mount', ['-o', 'remount,size=40m', data]);
  t.equal(await push(tempo, 2000), 200, 'there is space again');
  kept.push(2000);
  await flush(tempo);
  t.strictSame(await lost(tempo, kept), [], 'after the flush');
  t.ok((await metric(tempo, 'tempo_log_write_failures_total')) > 0, 'a metric');
  t.match(tempo.output(), /level=error msg="write-ahead log cannot be written/);
  session.destroy();
  t.equal(await tempo.stop(), 0);
  const again = await startTempo(data);
  t.teardown(() => again.kill());
  t.strictSame(await lost(again, kept), [], 'after a restart');
  t.equal(await spansOfTrace(again, hexId(5000, 16)), 0, 'what was refused is not there');
  await again.kill();
});

t.test('a disk that is almost full', { timeout: 60_000, skip }, async (t) => {
  const data = mounted(t, 'size=20m');
  const tempo = await startTempo(data);
  t.teardown(() => tempo.kill());
  const ballast = path.join(data, 'ballast');
  t.equal(await push(tempo, 1), 200);
  const { bavail, bsize } = fs.statfsSync(data);
  fs.writeFileSync(ballast, Buffer.alloc(bavail * bsize - 1_500_000));
  t.ok(await until(async () => (await metric(tempo, `tempo_disk_free_bytes{path="${data}/wal"}`)) < 2e6));
  const kept = [1];
  let answer = await httpExport(tempo, bodyOf(2));
  for (let id = 2; answer.status === 200 && id < 100; id++) {
    kept.push(id);
    answer = await httpExport(tempo, bodyOf(id + 1));
  }
  t.equal(answer.status, 503);
  t.match(answer.body.toString(), /disk of .* is almost full: \d+ bytes are free, 1048576 are kept free/);
  t.ok(kept.length > 2, `after ${kept.length} traces`);
  t.strictSame(await lost(tempo, kept), [], 'reads go on');
  t.equal(await metric(tempo, 'tempo_log_write_failures_total'), 0, 'before the disk is full');
  t.ok((await metric(tempo, 'tempo_refused_requests_total{kind="push",reason="disk"}')) > 0);
  await flush(tempo);
  t.strictSame(await lost(tempo, kept), [], 'what is kept free is enough for the blocks');
  fs.rmSync(ballast);
  t.equal(await push(tempo, 1000), 200, 'there is space again');
  t.equal(await tempo.stop(), 0);
});

t.test(
  'a disk that is full at the start, then one that is read-only',
  { timeout: 60_000, skip },
  async (t) => {
    const data = mounted(t, 'size=3m');
    const first = await startTempo(data);
    t.equal(await push(first, 1), 200);
    await flush(first);
    t.equal(await push(first, 2), 200);
    await first.stop();
    const ballast = path.join(data, 'ballast');
    try {
      for (;;) fs.appendFileSync(ballast, Buffer.alloc(4096));
    } catch {
      // The disk is full to the last page.
    }
    const full = await startTempo(data);
    t.teardown(() => full.kill());
    t.strictSame(await lost(full, [1, 2]), [], 'blocks and log are answered');
    t.equal(await push(full, 3), 503);
    fs.rmSync(ballast);
    t.equal(await push(full, 3), 200);
    t.strictSame(await lost(full, [1, 2, 3]), []);
    t.equal(await full.stop(), 0, 'and ends cleanly');
    execFileSync('mount', ['-o', 'remount,ro', data]);
    t.match(
      await startupOf(data),
      /error running Tempo.*cannot be written.*(EROFS|read-only)/,
      'no start on it',
    );
  },
);

/** Starts a second process on the data folder that must end by itself; answers what it wrote. */
function startupOf(data: string): Promise<string> {
  const config = path.join(fs.mkdtempSync(path.join(tmpdir(), 'tempo-config-')), 'tempo.yaml');
  const text = fs.readFileSync(path.join(data, 'tempo.yaml'), 'utf8');
  // Other ports, so that only the folder is in the way.
  fs.writeFileSync(config, text.replaceAll(/(listen_port: |127\.0\.0\.1:)\d+/g, '$10'));
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['cmd/tempo/main.ts', `-config.file=${config}`]);
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
    const late = setTimeout(() => child.kill('SIGKILL'), 10_000);
    child.on('close', (code) => {
      clearTimeout(late);
      fs.rmSync(path.dirname(config), { recursive: true });
      resolve(`${Buffer.concat(chunks).toString()}exit ${code}`);
    });
  });
}

t.test('two processes on one folder', { timeout: 30_000 }, async (t) => {
  const data = testFolder(t);
  const tempo = await startTempo(data);
  t.teardown(() => tempo.kill());
  t.equal(await push(tempo, 1), 200);
  t.match(await startupOf(data), new RegExp(`in use by process ${tempo.pid}.*exit 1$`, 's'));
  t.equal(await push(tempo, 2), 200);
  t.strictSame(await lost(tempo, [1, 2]), [], 'the first goes on');
  await tempo.kill();
});

t.test('logs that are torn or damaged', { timeout: 60_000 }, async (t) => {
  const data = testFolder(t);
  const log = path.join(data, 'wal/log');
  const COUNT = 10;
  const first = await startTempo(data);
  for (let id = 1; id <= COUNT; id++) t.equal(await push(first, id), 200);
  await first.kill();
  const [name] = fs.readdirSync(log).filter((file) => file.endsWith('.seg'));
  const segment = path.join(log, name!);
  const pristine = fs.readFileSync(segment);
  const all = Array.from({ length: COUNT }, (_, i) => i + 1);
  const cases: { name: string; bytes: () => Buffer; missing: number; sample: string; says: RegExp }[] = [
    {
      name: 'a torn tail',
      bytes: () => Buffer.concat([pristine, pristine.subarray(16, 300)]),
      missing: 0,
      sample: 'tempo_log_torn_tails_total',
      says: /level=warn msg="log ends in bytes that are no whole frame/,
    },
    {
      name: 'cut in the last frame',
      bytes: () => pristine.subarray(0, -100),
      missing: 1,
      sample: 'tempo_log_torn_tails_total',
      says: /level=warn msg="log ends in bytes that are no whole frame/,
    },
    ...[0.5, 0.999].map((share) => ({
      name: `a flipped byte at ${share}`,
      bytes: () => {
        const bytes = Buffer.from(pristine);
        const at = Math.floor(bytes.length * share);
        bytes[at] = bytes[at]! ^ 1;
        return bytes;
      },
      missing: 1,
      sample: 'tempo_log_corrupt_frames_total',
      says: /level=error msg="log segment is damaged/,
    })),
  ];
  for (const { name, bytes, missing, sample, says } of cases) {
    for (const file of fs.readdirSync(log)) fs.rmSync(path.join(log, file), { force: true });
    fs.writeFileSync(segment, bytes());
    const tempo = await startTempo(data);
    t.equal((await lost(tempo, all)).length, missing, `${name}: all but ${missing} are found`);
    t.ok((await metric(tempo, sample)) > 0, `${name}: a metric`);
    t.match(tempo.output(), says, `${name}: a line in the log`);
    t.equal(await push(tempo, 1000), 200, `${name}: it goes on`);
    await tempo.kill();
  }
  const again = await startTempo(data);
  t.equal((await lost(again, [...all, 1000])).length, 1, 'and after another restart');
  await again.kill();
});

t.test('SIGSTOP, SIGCONT, SIGTERM under load', { timeout: 120_000 }, async (t) => {
  const data = testFolder(t);
  const tempo = await startTempo(data);
  t.teardown(() => tempo.kill());
  const kept: number[] = [];
  let next = 1;
  let isOver = false;
  const sender = async (): Promise<void> => {
    while (!isOver) {
      const id = next++;
      const status = await push(tempo, id).catch(() => 0);
      if (status === 200) kept.push(id);
      else if (status === 0) return;
    }
  };
  const senders = Array.from({ length: 8 }, sender);
  await pause(500);
  process.kill(tempo.pid, 'SIGSTOP');
  await pause(1000);
  process.kill(tempo.pid, 'SIGCONT');
  const before = kept.length;
  t.ok(await until(() => kept.length > before + 20), 'it goes on after a pause');
  const begin = performance.now();
  const code = await tempo.stop();
  const tookMs = Math.round(performance.now() - begin);
  isOver = true;
  await Promise.all(senders);
  t.equal(code, 0);
  t.ok(tookMs < 5000, `ends in ${tookMs} ms`);
  const again = await startTempo(data);
  t.teardown(() => again.kill());
  t.strictSame(await lost(again, kept), [], `all ${kept.length} acknowledged traces are there`);
  // npm passes on a signal that came to it too.
  const ended = again.stop();
  process.kill(again.pid, 'SIGTERM');
  t.equal(await ended, 0);
});

t.test('the first signal after /shutdown ends nothing early', async (t) => {
  const data = testFolder(t);
  const tempo = await startTempo(data, { yaml: 'shutdown_delay: 4s\n' });
  t.teardown(() => tempo.kill());
  const ids = Array.from({ length: 20 }, (_, i) => i + 1);
  for (const id of ids) t.equal(await push(tempo, id), 200);
  t.equal((await tempo.get('/ingester/shutdown')).status, 200);
  await pause(2000);
  t.equal(await tempo.stop(), 0);
  t.match(tempo.output(), 'Tempo stopped');
});

t.test('a signal while the ingester flushes for /shutdown', async (t) => {
  const data = testFolder(t);
  const tempo = await startTempo(data);
  t.teardown(() => tempo.kill());
  const ids = Array.from({ length: 100 }, (_, i) => i + 1);
  for (const id of ids) t.equal(await push(tempo, id), 200);
  t.equal((await tempo.get('/shutdown')).status, 200);
  t.equal(await tempo.stop(), 0, 'what stops is not stopped twice');
  const again = await startTempo(data);
  t.teardown(() => again.kill());
  t.strictSame(await lost(again, ids), []);
  t.equal(await again.stop(), 0);
});
