// Runs test/traceql/*.test over every kind of span source.
import { readFileSync, readdirSync } from 'node:fs';
import t from 'tap';
import { HeadBuilder } from '../../src/block/head/builder.ts';
import { HeadReader } from '../../src/block/head/reader.ts';
import { HeadSource } from '../../src/block/head/source.ts';
import type { SpanSource } from '../../src/traceql/source.ts';
import { ArraySource } from '../support/array-source.ts';
import { type TestSpan, encodeTraces } from '../support/otlp.ts';
import { type Load, readScript, readSpans, runStep } from '../support/traceql-script.ts';

const FOLDER = new URL('../traceql/', import.meta.url);

function headSource(spans: readonly TestSpan[]): SpanSource {
  const builder = new HeadBuilder({ maxBytes: 64 * 1024 * 1024 });
  const request = encodeTraces(spans);
  builder.append(request, 0, request.length);
  return new HeadSource(new HeadReader(builder.sab), 'head');
}

const SOURCES: Record<string, (spans: readonly TestSpan[]) => SpanSource> = {
  array: (spans) => new ArraySource(spans),
  head: headSource,
};

for (const file of readdirSync(FOLDER).sort()) {
  const steps = readScript(readFileSync(new URL(file, FOLDER), 'utf8'));
  for (const [name, open] of Object.entries(SOURCES)) {
    await t.test(`${file} over ${name}`, async (t) => {
      const opened = new Map<Load, SpanSource>();
      for (const step of steps) {
        let source = opened.get(step.load);
        if (!source) {
          source = open(readSpans(step.load));
          opened.set(step.load, source);
        }
        const got = await runStep(step, source);
        const what = `line ${step.line}: ${step.query}`;
        if (step.kind === 'eval_fail') t.ok(got[0]?.includes(step.expected[0]!), what, { found: got });
        else t.same(got, step.expected, what);
      }
    });
  }
}
