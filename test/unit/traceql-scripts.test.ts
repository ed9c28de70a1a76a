// Runs test/traceql/*.test over every kind of span source, and checks that nothing of the language is missing
// in them.
import { readFileSync, readdirSync } from 'node:fs';
import t from 'tap';
import type { CompareOp, FieldExpr, Query, SpansetExpr, Stage, StaticType } from '../../src/traceql/ast.ts';
import { INTRINSIC_WORDS, intrinsicOf } from '../../src/traceql/intrinsics.ts';
import { KEYWORDS, OPERATORS, tokenize } from '../../src/traceql/lexer.ts';
import { parse } from '../../src/traceql/parser.ts';
import { STRUCTURAL_OPS } from '../../src/traceql/token-stream.ts';
import { operatorAllowed, typeOf } from '../../src/traceql/types.ts';
import { DEVIATIONS, METRICS_DEVIATIONS } from '../interop/searches.ts';
import { SCRIPT_SOURCES } from '../support/script-sources.ts';
import {
  type Answering,
  type Load,
  readScript,
  readSpans,
  runStep,
  type ScriptStep,
} from '../support/traceql-script.ts';

t.setTimeout(300_000);

const FOLDER = new URL('../traceql/', import.meta.url);
const scripts = readdirSync(FOLDER)
  .toSorted()
  .map((file) => ({ file, steps: readScript(readFileSync(new URL(file, FOLDER), 'utf8')) }));

for (const { file, steps } of scripts) {
  for (const [name, open] of Object.entries(SCRIPT_SOURCES)) {
    await t.test(`${file} over ${name}`, async (t) => {
      const opened = new Map<Load, Answering>();
      for (const step of steps) {
        let answering = opened.get(step.load);
        if (!answering) {
          answering = await open(readSpans(step.load));
          opened.set(step.load, answering);
        }
        const got = await runStep(step, answering);
        const what = `line ${step.line}: ${step.query}`;
        if (step.kind === 'eval_fail') t.ok(got[0]?.includes(step.expected[0]!), what, { found: got });
        else t.same(got, step.expected, what);
      }
    });
  }
}

/** Operators between two types, operators between spansets, and kinds of stages that occur in queries. */
class Occurring {
  readonly all = new Set<string>();

  query({ stages, metrics, second, hints }: Query): void {
    stages.forEach((stage) => this.stage(stage));
    if (metrics !== undefined) this.all.add(metrics.kind === 'metrics' ? metrics.name : metrics.kind);
    for (const stage of second) this.all.add(stage.kind === 'rank' ? stage.name : `samples ${stage.op}`);
    for (const { value } of hints) this.all.add(`hint ${value.type}`);
  }

  private stage(stage: Stage): void {
    switch (stage.kind) {
      case 'by':
        this.all.add(`by ${typeOf(stage.expr)}`);
        return this.field(stage.expr);
      case 'scalarFilter':
        if (stage.lhs.kind !== 'aggregate') return;
        this.all.add(`${stage.lhs.name} ${stage.op}`);
        if (stage.lhs.arg) this.field(stage.lhs.arg);
        return;
      case 'select':
      case 'coalesce':
        this.all.add(stage.kind);
        return;
      default:
        this.spanset(stage);
    }
  }

  private spanset(node: SpansetExpr): void {
    if (node.kind === 'filter') return this.field(node.expr);
    this.all.add(node.kind);
    if (node.kind === 'pipeline') return node.stages.forEach((stage) => this.stage(stage));
    this.all.add(`spansets ${node.op}`);
    this.spanset(node.lhs);
    this.spanset(node.rhs);
  }

  private field(expr: FieldExpr): void {
    if (expr.kind === 'unary') {
      this.all.add(`${expr.op} ${typeOf(expr.operand)}`);
      this.field(expr.operand);
    }
    if (expr.kind !== 'binary') return;
    this.all.add(`${typeOf(expr.lhs)} ${expr.op} ${typeOf(expr.rhs)}`);
    this.field(expr.lhs);
    this.field(expr.rhs);
  }
}

const UNTESTED = new Set([
  'Too many series',
  'Exemplars',
  'Division by zero',
  'Large queries',
  'Order and limit',
  'Roots',
  'Search by tags',
  'Streamed searches',
  'Not done in time',
  'Blocks that cannot be read',
  // in test/interop/scripts.test.ts
  'Groups by zero',
]);
/** Fields of spans, events, links and traces that metrics are grouped by or made of. */
const INTRINSICS_GROUPED = [...new Set([...INTRINSIC_WORDS].map((word) => intrinsicOf(word)?.name))].filter(
  (name) => name !== undefined && name !== 'parent',
);
const COMPARISONS: readonly CompareOp[] = ['=', '!=', '<', '<=', '>', '>=', '=~', '!~'];
const LITERALS: readonly StaticType[] = ['int', 'float', 'string', 'bool'];

t.test('the scripts have every word, operator and type of the language', (t) => {
  const steps = scripts.flatMap((script) => script.steps);
  const words = new Set(
    steps.flatMap(({ query }) =>
      // what is no token is in the tests of errors
      tokenize(query).map(({ text, kind, scope }) => (kind === 'attribute' ? `${scope}.` : text)),
    ),
  );
  const scopes = ['none', 'span', 'resource', 'event', 'link', 'instrumentation'].map((scope) => `${scope}.`);
  const wanted = [...KEYWORDS, ...OPERATORS, ...INTRINSIC_WORDS, ...scopes, 'minInt', 'maxInt'];
  t.same(
    wanted.filter((word) => !words.has(word)),
    [],
  );
  const occurring = new Occurring();
  for (const { query, kind } of steps) if (kind !== 'eval_fail') occurring.query(parse(query));
  const pairs = [
    ...COMPARISONS.flatMap((op) =>
      LITERALS.filter((type) => operatorAllowed(op, type)).map((type) => `attribute ${op} ${type}`),
    ),
    ...COMPARISONS.flatMap((op) =>
      (['string', 'duration', 'status', 'kind'] as const)
        .filter((type) => operatorAllowed(op, type))
        .map((type) => `${type} ${op} ${type}`),
    ),
    ...COMPARISONS.map((op) => `attribute ${op} attribute`),
    ...['+', '-', '*', '/', '%'].map((op) => `attribute ${op} int`),
    ...['+', '-', '*', '/'].map((op) => `attribute ${op} float`),
    ...['+', '-'].map((op) => `duration ${op} duration`),
    ...['&&', '||'].map((op) => `bool ${op} bool`),
    'bool = bool',
    'attribute = nil',
    'attribute != nil',
    '! attribute',
    '! bool',
    '- attribute',
  ];
  const stages = [
    ...['&&', '||', ...STRUCTURAL_OPS].map((op) => `spansets ${op}`),
    ...['count', 'avg', 'min', 'max', 'sum'].flatMap((name) => [`${name} >`, `${name} =`]),
    ...['attribute', 'string', 'bool', 'duration', 'status', 'kind', 'int'].map((type) => `by ${type}`),
  ].concat(['select', 'coalesce', 'pipeline', 'hint bool', 'hint float', 'hint string']);
  t.same(
    [...pairs, ...stages].filter((what) => !occurring.all.has(what)),
    [],
  );
  t.end();
});

/** What a step asks of a metrics function, one fact a line. */
function askedFacts({ kind, query }: ScriptStep): string[] {
  const { stages, metrics, second, hints } = parse(query);
  const isCompare = metrics!.kind !== 'metrics';
  const name = isCompare ? 'compare' : metrics!.name;
  const [arg, by] = isCompare ? [undefined, []] : [metrics!.arg, metrics!.by];
  const refs = [...by, ...(arg === undefined ? [] : [arg])];
  return [
    `${name} ${kind}`,
    `${name} by ${by.length}`,
    ...(arg === undefined ? [] : [`${name} of ${arg.kind}`]),
    ...refs.map((ref) => `reads ${ref.kind === 'attribute' ? `${ref.scope}.` : ref.name}`),
    ...second.map((one) => `${name} | ${one.kind === 'rank' ? one.name : one.op}`),
    ...(second.length > 1 ? [`second stages: ${second.length}`] : []),
    ...stages.map((stage) => `behind ${stage.kind}`),
    ...hints.map((hint) => `hint ${hint.name}`),
  ];
}

t.test('the scripts have every metrics function in every form, with its values', (t) => {
  const counted = ['rate', 'count_over_time'];
  const measured = ['min', 'max', 'avg', 'sum', 'quantile', 'histogram'].map((name) => `${name}_over_time`);
  const few = new Set(['avg_over_time', 'quantile_over_time', 'histogram_over_time']);
  const wanted = [
    ...[...counted, ...measured].flatMap((name) => [
      ...['eval_range', 'eval_instant', 'eval_exemplars'].map((kind) => `${name} ${kind}`),
      ...[0, 1, few.has(name) ? 4 : 5].map((count) => `${name} by ${count}`),
      ...['topk', 'bottomk', '=', '!=', '<', '<=', '>', '>='].map((stage) => `${name} | ${stage}`),
    ]),
    ...measured.flatMap((name) => [`${name} of attribute`, `${name} of intrinsic`]),
    'compare eval_range',
    'compare eval_instant',
    ...['none', 'span', 'resource', 'event', 'link', 'instrumentation'].map((scope) => `reads ${scope}.`),
    ...INTRINSICS_GROUPED.map((name) => `reads ${name}`),
    'second stages: 2',
    ...['filter', 'spansets', 'pipeline', 'by', 'coalesce', 'select', 'scalarFilter'].map(
      (kind) => `behind ${kind}`,
    ),
    'hint exemplars',
    'hint sample',
  ];
  const steps = scripts.flatMap((script) => script.steps).filter(({ asked }) => asked !== undefined);
  const facts = new Set(steps.flatMap(askedFacts));
  t.same(
    wanted.filter((fact) => !facts.has(fact)),
    [],
  );
  t.end();
});

/** The text of each entry of a chapter, by its heading. */
function entriesOf(text: string, chapter: string): Map<string, string> {
  const [, body] = new RegExp(`^## ${chapter}$([^]*?)^## `, 'm').exec(text)!;
  const [, ...entries] = body!.split(/^### /m);
  return new Map(entries.map((entry) => [entry.slice(0, entry.indexOf('\n')), entry]));
}

t.test('every way in which queries differ from those of Tempo is shown by one', (t) => {
  const text = readFileSync(new URL('../../docs/decisions/deviations.md', import.meta.url), 'utf8');
  // the tables of interop, which asks both; some are of other endpoints, or would end real Tempo
  const tables = { Searches: DEVIATIONS, 'Metrics queries': METRICS_DEVIATIONS };
  for (const [chapter, table] of Object.entries(tables)) {
    const entries = entriesOf(text, chapter);
    t.same(
      Object.keys(table).filter((heading) => !entries.has(heading)),
      [],
    );
    for (const [heading, entry] of entries) {
      t.match(entry, /^.+\n\n`[^`]/, `${heading} begins with a query or request`);
      const queries = table[heading];
      if (queries === undefined) t.ok(UNTESTED.has(heading), `${heading}: no query in test/interop`);
      else
        t.ok(
          queries.some((query) => entry.includes(query)),
          `${heading} names one of its queries`,
        );
    }
  }
  t.end();
});

t.test('every way in which answers of the query API differ from those of Tempo names a request', (t) => {
  const text = readFileSync(new URL('../../docs/decisions/deviations.md', import.meta.url), 'utf8');
  for (const chapter of ['Reads', 'Tag names and values', 'Metrics queries over the API']) {
    const [, body] = new RegExp(`^## ${chapter}$([^]*?)^## `, 'm').exec(text)!;
    const [, ...bullets] = body!.split(/^- /m);
    t.ok(bullets.length > 4, chapter);
    for (const bullet of bullets) t.match(bullet, /^`(\/api\/|tempopb\.|\{|…)/);
  }
  t.end();
});
