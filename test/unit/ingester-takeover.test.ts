// WAL folders that Grafana Tempo left: wherever a takeover is interrupted, the next one completes it, and
// what cannot be read is kept.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as path from 'node:path';
import t from 'tap';
import { TempoError } from '../../src/lib/errors.ts';
import { WalFolders } from '../../src/modules/ingester/wal-folders.ts';
import { ImportThreadEnded, WalImportThread } from '../../src/modules/ingester/wal-import-thread.ts';
import {
  type ImportJob,
  importedBlockId,
  type ImportReport,
  type ImportSettings,
  WalImport,
} from '../../src/modules/ingester/wal-import.ts';
import { BLOOM_DEFAULTS } from '../../src/block/trace-bloom.ts';
import { LocalStore } from '../../src/objectstore/local.ts';
import { filesOpenElsewhere } from '../../src/store/log/foreign-users.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { Metrics } from '../../src/telemetry/metrics.ts';
import { testFolder } from '../support/test-folder.ts';

const golden = path.join(import.meta.dirname, '../golden/wal');
const WHOLE = fs.readdirSync(golden).find((name) => name.includes('+two+'))!;
const TORN = fs.readdirSync(golden).find((name) => name.includes('+one+'))!;
/** In `WHOLE` and in the readable files of `TORN`. */
const WHOLE_SPANS = 9;
const TORN_SPANS = 27;

interface Harness {
  readonly wal: string;
  readonly settings: ImportSettings;
  readonly lines: string[];
  readonly metrics: Metrics;
  /** Of each import. */
  readonly reports: ImportReport[];
  takeOver(run?: (job: ImportJob) => Promise<ImportReport>): Promise<void>;
  run(job: ImportJob): Promise<ImportReport>;
  blocks(tenant: string): string[];
  errors(tenant: string): Promise<number>;
}

function aHarness(wal: string, folders: readonly string[], over: Partial<ImportSettings> = {}): Harness {
  for (const folder of folders)
    fs.cpSync(path.join(golden, folder), path.join(wal, folder), { recursive: true });
  const lines: string[] = [];
  const metrics = new Metrics();
  const replayErrors = metrics.counter('errors_total', 'e', ['tenant']);
  const store = new LocalStore(wal);
  const reports: ImportReport[] = [];
  const settings: ImportSettings = {
    walPath: wal,
    blocksPath: `${wal}/blocks`,
    format: 'vParquet4',
    dedicatedColumns: [],
    bloom: BLOOM_DEFAULTS,
    valueFilterBytesMax: 65_536,
    maxBlockBytes: 500_000_000,
    headBytesMax: 64 * 1024 * 1024,
    ...over,
  };
  const run = async (job: ImportJob): Promise<ImportReport> => {
    const report = await new WalImport(settings, store, job).run();
    reports.push(report);
    return report;
  };
  const logger = createLogger({ level: 'info', format: 'logfmt', write: (line) => lines.push(line) });
  return {
    wal,
    settings,
    lines,
    metrics,
    reports,
    run,
    takeOver: (instead = run) =>
      new WalFolders({
        store,
        run: instead,
        logger,
        replayErrors,
        openElsewhere: () => filesOpenElsewhere(wal),
        nowMs: Date.now,
      }).takeOver(),
    blocks: (tenant) => {
      const folder = `${wal}/blocks/${tenant}`;
      return fs.existsSync(folder) ? fs.readdirSync(folder).toSorted() : [];
    },
    errors: async (tenant) => {
      const found = new RegExp(`^errors_total\\{tenant="${tenant}"\\} (\\d+)$`, 'm').exec(
        await metrics.text(),
      );
      return Number(found?.[1] ?? 0);
    },
  };
}

const folderIds = (folder: string): string => folder.slice(0, 36);

t.test('a folder becomes a block and goes', async (t) => {
  const harness = aHarness(testFolder(t), [WHOLE]);
  await harness.takeOver();
  t.match(harness.reports, [{ traces: 2, spans: WHOLE_SPANS, failed: [] }]);
  t.strictSame(harness.blocks('two'), [importedBlockId(folderIds(WHOLE), '0000000001', 0)]);
  t.strictSame(fs.readdirSync(harness.wal), ['blocks']);
  t.equal(await harness.errors('two'), 0);
  await harness.takeOver();
  t.equal(harness.reports.length, 1);
});

t.test('interrupted at any place, the next one leaves the same', async (t) => {
  const cases: { name: string; stop: (harness: Harness) => Promise<void> }[] = [
    {
      name: 'with half a block written',
      stop: async ({ settings }) => {
        const id = importedBlockId(folderIds(WHOLE), '0000000001', 0);
        fs.mkdirSync(`${settings.blocksPath}/two/${id}`, { recursive: true });
        fs.writeFileSync(`${settings.blocksPath}/two/${id}/data.parquet`, 'half');
      },
    },
    {
      name: 'with the block complete',
      stop: (harness) =>
        harness.takeOver(async (job) => {
          await harness.run(job);
          throw new TempoError('internal', 'killed');
        }),
    },
    {
      name: 'with some of the files deleted',
      stop: async (harness) => {
        await harness
          .takeOver(async (job) => {
            await harness.run(job);
            throw new TempoError('internal', 'killed');
          })
          .catch(() => {});
        const state = { taken: ['0000000001', '0000000002'], damaged: [] };
        fs.writeFileSync(`${harness.wal}/${WHOLE}/taken-over.json`, JSON.stringify(state));
        fs.rmSync(`${harness.wal}/${WHOLE}/0000000001`);
      },
    },
  ];
  for (const { name, stop } of cases) {
    await t.test(name, async (t) => {
      const harness = aHarness(testFolder(t), [WHOLE]);
      await stop(harness).catch((err: unknown) => t.match(err, { message: 'killed' }));
      await harness.takeOver();
      t.strictSame(harness.blocks('two'), [importedBlockId(folderIds(WHOLE), '0000000001', 0)]);
      t.ok(fs.existsSync(`${harness.settings.blocksPath}/two/${harness.blocks('two')[0]}/meta.json`));
      t.strictSame(fs.readdirSync(harness.wal), ['blocks']);
      t.equal(await harness.errors('two'), 0);
    });
  }
});

t.test('what cannot be read stays and is told', async (t) => {
  const harness = aHarness(testFolder(t), [TORN, WHOLE]);
  const { wal } = harness;
  const unknown = folderIds(WHOLE).replace(/^./, '0') + '+six+vParquet6';
  const noMeta = folderIds(WHOLE).replace(/^./, '1') + '+two+vParquet4';
  const foreign = folderIds(WHOLE).replace(/^./, '2') + '+other+vParquet4';
  const v2 = `${folderIds(WHOLE)}+old+v2+snappy+v2`;
  for (const [name, without] of [
    [unknown, ''],
    [noMeta, 'meta.json'],
    [foreign, ''],
  ] as const) {
    fs.cpSync(path.join(golden, WHOLE), `${wal}/${name}`, { recursive: true });
    if (without !== '') fs.rmSync(`${wal}/${name}/${without}`);
  }
  fs.writeFileSync(`${wal}/${v2}`, 'x');
  fs.mkdirSync(`${wal}/search`);
  await harness.takeOver();
  const left = fs.readdirSync(wal).toSorted();
  t.strictSame(left, [unknown, noMeta, foreign, v2, TORN, 'blocks', 'search'].toSorted());
  t.strictSame(fs.readdirSync(`${wal}/${unknown}`).length, 4);
  t.strictSame(fs.readdirSync(`${wal}/${TORN}`).toSorted(), [
    '0000000004',
    '0000000005',
    'meta.json',
    'taken-over.json',
  ]);
  t.match(harness.reports[0], { spans: TORN_SPANS, failed: [{ file: '0000000004', spans: 0 }] });
  for (const tenant of ['one', 'two', 'six', 'other', 'old'])
    t.equal(await harness.errors(tenant), 1, tenant);
  t.match(harness.lines.join('\n'), /cannot be read, it is left where it is" .*tenant=six .*vParquet6/);

  const before = harness.blocks('one');
  await harness.takeOver();
  t.strictSame(harness.blocks('one'), before, 'it makes no blocks the second time');
  t.strictSame(fs.readdirSync(wal).toSorted(), left);
});

t.test('a file that is damaged inside is read in part, once', async (t) => {
  const harness = aHarness(testFolder(t), [WHOLE], { headBytesMax: 1 });
  const file = `${harness.wal}/${WHOLE}/0000000002`;
  const good = await harness.run(await jobOf(harness));
  t.equal(good.spans, WHOLE_SPANS);
  fs.rmSync(harness.settings.blocksPath, { recursive: true });
  // Its spans are taken, then the thread sees damage.
  const failing = async (job: ImportJob): Promise<ImportReport> => {
    const report = await harness.run(job);
    return {
      ...report,
      taken: ['0000000001'],
      failed: [{ file: '0000000002', spans: 5, reason: 'flipped' }],
    };
  };
  await harness.takeOver(failing);
  t.equal(harness.blocks('two').length, 2, 'so small a head makes a block of each part');
  t.ok(fs.existsSync(file));
  t.equal(await harness.errors('two'), 1);
  const reads = harness.reports.length;
  await harness.takeOver();
  t.equal(harness.reports.length, reads, 'it is not read again');
  t.ok(fs.existsSync(file));
  t.equal(await harness.errors('two'), 2, 'but told again');
});

async function jobOf(harness: Harness): Promise<ImportJob> {
  const { promise, resolve } = Promise.withResolvers<ImportJob>();
  await harness
    .takeOver((job) => {
      resolve(job);
      return Promise.reject(new TempoError('internal', 'only looking'));
    })
    .catch(() => {});
  return promise;
}

t.test('empty folders are removed', async (t) => {
  const harness = aHarness(testFolder(t), [WHOLE]);
  for (const file of ['0000000001', '0000000002']) fs.truncateSync(`${harness.wal}/${WHOLE}/${file}`);
  await harness.takeOver();
  t.strictSame(fs.readdirSync(harness.wal), []);
  t.match(harness.lines.join(''), `holds nothing to read and is removed" folder=${WHOLE} tenant=`);
  t.equal(await harness.errors('two'), 0);
});

t.test('a damaged note of an earlier takeover leaves its folder alone', async (t) => {
  for (const note of ['{"taken":["00', 'null', '{}', '{"taken":[1],"damaged":[]}']) {
    const harness = aHarness(testFolder(t), [WHOLE, TORN]);
    fs.writeFileSync(`${harness.wal}/${WHOLE}/taken-over.json`, note);
    const before = fs.readdirSync(`${harness.wal}/${WHOLE}`);
    await harness.takeOver();
    t.strictSame(fs.readdirSync(`${harness.wal}/${WHOLE}`), before, note);
    t.match(harness.lines.join(''), /is left where it is" tenant=two .*reason="taken-over\.json is damaged"/);
    t.equal(harness.blocks('one').length, 1, 'the others are taken over');
  }
});

t.test('a disk that takes no block ends the start and loses nothing', async (t) => {
  const harness = aHarness(testFolder(t), [WHOLE]);
  fs.writeFileSync(harness.settings.blocksPath, 'in the way');
  const before = fs.readdirSync(`${harness.wal}/${WHOLE}`);
  await t.rejects(harness.takeOver(), { code: 'unavailable', message: /^block .* cannot be written/ });
  t.strictSame(fs.readdirSync(`${harness.wal}/${WHOLE}`), before);
});

t.test('a folder that another process writes is not touched', async (t) => {
  const harness = aHarness(testFolder(t), [WHOLE, TORN]);
  const file = JSON.stringify(`${harness.wal}/${WHOLE}/0000000003`);
  const program = `require('fs').openSync(${file}, 'a'); console.log('open'); process.stdin.resume()`;
  const child = spawn(process.execPath, ['-e', program], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  const message = `wal folder ${WHOLE} is in use by process ${child.pid}: stop it first`;
  await t.rejects(harness.takeOver(), { code: 'unavailable', message });
  t.strictSame(fs.readdirSync(harness.wal).toSorted(), [TORN, WHOLE].toSorted());
  child.stdin.end();
  await once(child, 'exit');
  await harness.takeOver();
  t.strictSame(fs.readdirSync(harness.wal).toSorted(), [TORN, 'blocks'].toSorted());
});

t.test('the thread', async (t) => {
  await t.test('reads a folder, and says why a block cannot be written', async (t) => {
    const harness = aHarness(testFolder(t), [WHOLE]);
    const job = await jobOf(harness);
    const thread = new WalImportThread(harness.settings);
    t.match(await thread.run(job), { traces: 2, spans: WHOLE_SPANS });
    fs.rmSync(harness.settings.blocksPath, { recursive: true });
    fs.writeFileSync(harness.settings.blocksPath, 'in the way');
    await t.rejects(thread.run(job), { code: 'unavailable', message: /^wal folder .*: block .*: / });
    await thread.stop();
    await t.rejects(thread.run(job), { code: 'unavailable' });
  });
  await t.test('that ends costs the folder its turn, not its files', async (t) => {
    const harness = aHarness(testFolder(t), [WHOLE, TORN]);
    await harness.takeOver((job) =>
      job.folder === WHOLE ? Promise.reject(new ImportThreadEnded('out of memory')) : harness.run(job),
    );
    t.strictSame(fs.readdirSync(harness.wal).toSorted(), [TORN, WHOLE, 'blocks'].toSorted());
    t.equal(await harness.errors('two'), 1);
    t.equal(harness.blocks('one').length, 1);
  });
});
