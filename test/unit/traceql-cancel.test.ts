// Patterns that take long, on values that are many: a query that is cancelled ends amid them.
import t from 'tap';
import { entryTest, matchOwners } from '../../src/traceql/engine/entry-test.ts';
import { TextPool } from '../../src/traceql/engine/text-pool.ts';
import { ValueType, type Vector } from '../../src/traceql/source.ts';

const COUNT = 1000;
const encoder = new TextEncoder();

/** Aborts once it was looked at so many times. */
function signalAfter(times: number): { readonly signal: AbortSignal; readonly asked: () => number } {
  let asked = 0;
  const throwIfAborted = (): void => {
    if (++asked > times) throw new DOMException('the request was cancelled', 'AbortError');
  };
  return { signal: { throwIfAborted } as AbortSignal, asked: () => asked };
}

t.test('a pattern of the query over stored values', (t) => {
  const table = { size: COUNT, bytes: (id: number) => encoder.encode(`value ${id}`) };
  const str = Int32Array.from({ length: COUNT }, (_, i) => i);
  const vector = { count: COUNT, type: ValueType.string, str, table, base: 0n } as unknown as Vector;
  const field = { kind: 'attribute', scope: 'span', parent: false, name: 'a' } as const;
  const test = entryTest(field, '=~', { type: 'string', value: 'value [0-9]+5' });
  const { signal } = signalAfter(3);
  t.throws(() => matchOwners(vector, test, { signal }), { name: 'AbortError' });
  const patient = signalAfter(COUNT);
  t.equal(matchOwners(vector, test, patient).count(), 99);
  t.ok(patient.asked() > 10);
  t.end();
});

t.test('a pattern that is stored itself', (t) => {
  const { signal } = signalAfter(3);
  const texts = new TextPool(signal);
  const pattern = texts.idOfText('[ab]+c');
  for (let i = 0; i < 3; i++) t.equal(texts.matches(texts.idOfText(`${'a'.repeat(i + 1)}c`), pattern), true);
  t.equal(texts.matches(texts.idOfText('ac'), pattern), true, 'what is decided is not asked again');
  t.throws(() => texts.matches(texts.idOfText('bc'), pattern), { name: 'AbortError' });
  t.end();
});
