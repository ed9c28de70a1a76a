// What it costs to write blocks and to compact two of them: CPU, memory and bytes a span, for each format,
// with the filter over attribute values and without, in turn. Each pair is of a process of its own: for the
// first time, and again, when all code is compiled.
// npm run bench:writing -- --corpus DIR [--format vParquet5] [--rounds 3] [--folder DIR]
// npm run bench:writing -- --corpus DIR --phase filter: the filter of a head alone, again and again
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { parseArgs } from 'node:util';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import { HeadReader } from '../../src/block/head/reader.ts';
import { metaFromJson } from '../../src/block/meta-json.ts';
import { META_NAME } from '../../src/block/meta.ts';
import { BLOOM_DEFAULTS } from '../../src/block/trace-bloom.ts';
import { ValueFilterBuilder } from '../../src/block/value-filter/builder.ts';
import { addHeadValues, headAttributeCount } from '../../src/block/value-filter/of-head.ts';
import { createBlock, DEFAULT_DEDICATED_COLUMNS } from '../../src/block/vparquet/create.ts';
import type { WrittenFormat } from '../../src/block/vparquet/schema.ts';
import { LocalStore } from '../../src/objectstore/local.ts';
import { SyncedFolder } from '../../src/objectstore/synced-folder.ts';
import { compactChecked } from '../../src/store/compact-checked.ts';
import { cutCorpus, readCorpus } from './corpus.ts';
import { memoryMib } from './proc.ts';

const { values: flags } = parseArgs({
  options: {
    corpus: { type: 'string' },
    format: { type: 'string', multiple: true, default: ['vParquet4', 'vParquet5'] },
    rounds: { type: 'string', default: '3' },
    phase: { type: 'string' },
    folder: { type: 'string' },
    filter: { type: 'string', default: '4194304' },
  },
});

const TENANT = 'single-tenant';
const HEAD_BYTES = 2 ** 30;
const IDS = ['11111111-2222-4333-8444-555555555555', '22222222-2222-4333-8444-555555555555'];
const FILTER_RUNS = 8;
const RESULT_ID = '33333333-2222-4333-8444-555555555555';

interface Figures {
  readonly spans: number;
  readonly cpuMicros: number;
  readonly rssMib: number;
  readonly dataBytes: number;
  readonly filterBytes: number;
}

function cpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function sizeOf(folder: string, blockId: string, name: string): number {
  return statSync(path.join(folder, TENANT, blockId, name), { throwIfNoEntry: false })?.size ?? 0;
}

function figuresOf(folder: string, blockIds: readonly string[], spans: number, micros: number): Figures {
  const sum = (name: string): number => blockIds.reduce((all, id) => all + sizeOf(folder, id, name), 0);
  return {
    spans,
    cpuMicros: micros,
    rssMib: memoryMib([process.pid], 'VmHWM'),
    dataBytes: sum('data.parquet'),
    filterBytes: sum('value-filter'),
  };
}

/** Two blocks of half of the corpus each; only making them of heads counts. */
function write(folder: string, format: WrittenFormat, valueFilterBytesMax: number): Figures {
  const corpus = readCorpus(flags.corpus ?? '');
  const parts = cutCorpus(corpus, [corpus.spans / 2, corpus.spans / 2]);
  let micros = 0;
  for (const [i, { requests }] of parts.entries()) {
    const builder = new HeadBuilder({ maxBytes: HEAD_BYTES });
    for (const { body } of requests) builder.append(body, 0, body.length);
    const before = cpuMicros();
    const sink = new SyncedFolder(folder, `${TENANT}/${IDS[i]}`, META_NAME);
    createBlock({
      head: new HeadReader(builder.sab),
      blockId: IDS[i]!,
      tenant: TENANT,
      format,
      dedicatedColumns: DEFAULT_DEDICATED_COLUMNS,
      options: { valueFilterBytesMax },
      sink,
    });
    sink.finish();
    micros += cpuMicros() - before;
  }
  return figuresOf(folder, IDS, corpus.spans, micros);
}

/** Of one head of all spans. */
function filterAlone(bytesMax: number): void {
  const builder = new HeadBuilder({ maxBytes: HEAD_BYTES });
  for (const { body } of readCorpus(flags.corpus ?? '').requests) builder.append(body, 0, body.length);
  const head = new HeadReader(builder.sab);
  for (let run = 0; run < FILTER_RUNS; run++) {
    const before = cpuMicros();
    const filter = new ValueFilterBuilder({ bytesMax, valuesMax: headAttributeCount(head) });
    addHeadValues(filter, head);
    filter.finish();
    const micros = (cpuMicros() - before) / head.spanCount;
    process.stdout.write(`filter of ${head.spanCount} spans: ${micros.toFixed(3)} µs CPU a span\n`);
  }
}

/** One block of the two, read again and checked as it is before it counts. */
async function compact(folder: string, valueFilterBytesMax: number): Promise<Figures> {
  const inputs = IDS.map((id) => metaFromJson(readFileSync(path.join(folder, TENANT, id, META_NAME))));
  const scratchPath = path.join(folder, 'scratch');
  const before = cpuMicros();
  const { spans } = await compactChecked(
    { inputs, blockId: RESULT_ID, traceBytesMax: 0 },
    {
      backend: new LocalStore(folder),
      scratch: new LocalStore(scratchPath),
      sink: new SyncedFolder(scratchPath, `${TENANT}/${RESULT_ID}`, META_NAME),
      bloom: BLOOM_DEFAULTS,
      valueFilterBytesMax,
    },
  );
  const figures = figuresOf(scratchPath, [RESULT_ID], spans, cpuMicros() - before);
  rmSync(scratchPath, { recursive: true });
  return figures;
}

type Twice = readonly [Figures, Figures];

/** As the product runs: in one file, since a process compiles for a while what reads TypeScript. */
const BUILT = path.resolve(import.meta.dirname, `../../node_modules/.bench/writing-${process.pid}.mjs`);

async function buildItself(): Promise<void> {
  const { build } = await import('esbuild');
  await build({
    entryPoints: [import.meta.filename],
    outfile: BUILT,
    bundle: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: 'es2024',
  });
}

function inProcess(phase: 'write' | 'compact', folder: string, format: string, filter: string): Twice {
  const own = ['--phase', phase, '--folder', folder, '--format', format, '--filter', filter];
  const args = [BUILT, '--corpus', flags.corpus ?? '', ...own];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as Twice;
}

function line(what: string, { spans, cpuMicros: micros, rssMib, dataBytes, filterBytes }: Figures): void {
  const cells = [
    `${(micros / spans).toFixed(2)} µs CPU a span`,
    `${rssMib.toFixed(0)} MiB VmHWM`,
    `${(dataBytes / spans).toFixed(1)} bytes a span`,
    `filter ${(filterBytes / spans).toFixed(2)} bytes a span`,
  ];
  process.stdout.write(`${what.padEnd(40)} ${cells.join(', ')}\n`);
}

const [format] = flags.format as [WrittenFormat];
if (flags.phase === 'write') {
  const first = write(flags.folder!, format, Number(flags.filter));
  process.stdout.write(JSON.stringify([first, write(flags.folder!, format, Number(flags.filter))]));
} else if (flags.phase === 'filter' && import.meta.filename.endsWith('.mjs')) {
  filterAlone(Number(flags.filter));
} else if (flags.phase === 'compact') {
  const filterBytes = Number(flags.filter);
  const first = await compact(flags.folder!, filterBytes);
  process.stdout.write(JSON.stringify([first, await compact(flags.folder!, filterBytes)]));
} else if (flags.phase === 'filter') {
  await buildItself();
  execFileSync(process.execPath, [BUILT, ...process.argv.slice(2)], { stdio: 'inherit' });
  rmSync(BUILT);
} else {
  await buildItself();
  for (const each of flags.format) {
    const folder = mkdtempSync(path.join(flags.folder ?? tmpdir(), 'writing-'));
    for (let round = 0; round < Number(flags.rounds); round++) {
      for (const filter of ['0', flags.filter]) {
        const name = `${each}, ${filter === '0' ? 'no filter' : 'with filter'}`;
        for (const phase of ['write', 'compact'] as const) {
          const [first, second] = inProcess(phase, folder, each, filter);
          line(`${phase}: ${name}`, first);
          line(`${phase} again: ${name}`, second);
        }
      }
    }
    rmSync(folder, { recursive: true });
  }
  rmSync(BUILT);
}
