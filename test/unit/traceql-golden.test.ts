// Searches over the fixture corpus against what Tempo 2.10.8 answered over the block it wrote of it.
// Needs TEMPO_FIXTURES = a folder with corpus/*.pb and {read,random-search}.golden.jsonl; skipped without.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import { HeadReader } from '../../src/block/head/reader.ts';
import { HeadSource } from '../../src/block/head/source.ts';
import { searchSource } from '../../src/traceql/engine/search.ts';
import { parse } from '../../src/traceql/parser.ts';
import type { SpanSource } from '../../src/traceql/source.ts';
import { validate } from '../../src/traceql/validate.ts';
import { canonical } from '../support/canonical.ts';

const FOLDER = process.env['TEMPO_FIXTURES'] ?? '';

/** Where we answer otherwise on purpose. */
const DEVIATIONS: Record<string, string> = {
  'fuzz-11-48': '`= nil` inside a larger query',
  'fuzz-11-77': '`= nil` inside a larger query',
  'fuzz-11-79': '`= nil` inside a larger query',
  'fuzz-11-105': '`= nil` inside a larger query',
  'fuzz-11-228': '`= nil` inside a larger query',
  'fuzz-11-76': 'event:name shown as "" on spans without a matching event',
  'fuzz-11-111': 'event:timeSinceStart shown as 0s on spans without a matching event',
  'fuzz-11-222': 'http.status_code shown as nil though compared with a number',
};

interface Golden {
  readonly name: string;
  readonly request: string;
  readonly want: { readonly traces: unknown[] };
}

function openHead(): SpanSource {
  const builder = new HeadBuilder({ maxBytes: 256 * 1024 * 1024 });
  const folder = join(FOLDER, 'corpus');
  for (const file of readdirSync(folder)
    .filter((name) => name.endsWith('.pb'))
    .sort()) {
    const request = new Uint8Array(readFileSync(join(folder, file)));
    builder.append(request, 0, request.length);
  }
  return new HeadSource(new HeadReader(builder.sab), 'corpus');
}

function goldens(): Golden[] {
  const lines = ['read', 'random-search'].flatMap((name) =>
    readFileSync(join(FOLDER, `${name}.golden.jsonl`), 'utf8').split('\n'),
  );
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Golden);
}

/** Limits below the number of matches leave the choice open; vParquet4 does not have childCount, we do. */
function isComparable(golden: Golden, q: string | null): q is string {
  return (
    golden.request.startsWith('/api/search?') &&
    q !== null &&
    !golden.name.endsWith('-20') &&
    !q.includes('childCount')
  );
}

await t.test('searches answer as Tempo', { skip: !existsSync(join(FOLDER, 'corpus')) }, async (t) => {
  const source = openHead();
  let compared = 0;
  for (const golden of goldens()) {
    const params = new URL(golden.request, 'http://x').searchParams;
    const q = params.get('q');
    if (!isComparable(golden, q)) continue;
    const query = parse(q);
    validate(query);
    const seconds = (name: string): bigint => BigInt(params.get(name)!) * 1_000_000_000n;
    const outcome = await searchSource(query, source, {
      limit: Number(params.get('limit')),
      spansPerSpanSet: Number(params.get('spss') ?? 3),
      startUnixNano: seconds('start'),
      endUnixNano: seconds('end'),
    });
    const traces = outcome.found.map((found) => JSON.parse(new TextDecoder().decode(found.json)) as unknown);
    const [got, want] = [canonical({ traces }), canonical(golden.want)].map((value) => JSON.stringify(value));
    if (golden.name in DEVIATIONS) t.not(got, want, `${golden.name}: no deviation any more`);
    else t.equal(got, want, `${golden.name}: ${q}`);
    compared++;
  }
  t.ok(compared > 150, `${compared} compared`);
});
