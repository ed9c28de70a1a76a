// The cache of bytes: what goes first, and that no more is held than is counted.
import fc from 'fast-check';
import t from 'tap';
import { ByteLru } from '../../src/lib/lru.ts';

const kept = (cache: ByteLru, ...keys: string[]): string[] =>
  keys.filter((key) => cache.peek(key) !== undefined);

function ask(cache: ByteLru, key: string, bytes: number, needs: string[] = []): void {
  if (cache.get(key) === undefined) cache.set(key, {}, bytes, needs);
}

await t.test('what was used longest ago goes first', async (t) => {
  const lru = new ByteLru(100);
  for (const key of ['a', 'b', 'c']) lru.set(key, { key }, 30);
  t.ok(lru.get('a'));
  lru.set('d', { key: 'd' }, 30);
  t.notOk(lru.get('b'), 'b was oldest');
  t.same([lru.sizeBytes, lru.count, lru.hits, lru.misses], [90, 3, 1, 1]);
  lru.resize('d', 80);
  t.ok(lru.peek('d'));
  t.equal(lru.sizeBytes, 80);
  lru.set('huge', {}, 101);
  t.notOk(lru.peek('huge'));
  lru.resize('d', 101);
  t.same([lru.sizeBytes, lru.count], [0, 0]);
});

await t.test('sizes mean nothing where nothing is small', async (t) => {
  const lru = new ByteLru(100);
  lru.set('small', {}, 1);
  for (let i = 0; i < 10; i++) lru.set(`large ${i}`, {}, 40);
  t.strictSame(kept(lru, 'small', 'large 8', 'large 9'), ['large 8', 'large 9']);
});

await t.test('the small stays longer, but not for good', async (t) => {
  const lru = new ByteLru(100, { smallBytes: 10 });
  lru.set('small', {}, 2);
  for (let i = 0; i < 4; i++) lru.set(`large ${i}`, {}, 40);
  t.strictSame(kept(lru, 'small', 'large 2', 'large 3'), ['small', 'large 2', 'large 3']);
  for (let i = 0; i < 40; i++) lru.set(`large ${i}`, {}, 40);
  t.strictSame(kept(lru, 'small'), []);
});

await t.test('what several turns used stays while others pass over much data', async (t) => {
  const cache = new ByteLru(100);
  for (let turn = 0; turn < 4; turn++) {
    cache.nextTurn();
    ask(cache, 'a', 20);
    ask(cache, 'b', 20);
    ask(cache, 'a', 20);
  }
  cache.nextTurn();
  for (let i = 0; i < 12; i++) ask(cache, `passed over ${i}`, 10);
  t.strictSame(kept(cache, 'a', 'b', 'passed over 11'), ['a', 'b', 'passed over 11']);
  t.equal(cache.sizeBytes, 100);
  for (let turn = 0; turn < 20; turn++) {
    cache.nextTurn();
    for (let i = 0; i < 12; i++) ask(cache, `passed over ${turn} ${i}`, 10);
  }
  t.strictSame(kept(cache, 'a', 'b'), [], 'not for good');
});

await t.test('a use within a turn does not count twice', async (t) => {
  const cache = new ByteLru(100);
  cache.nextTurn();
  for (let i = 0; i < 10; i++) ask(cache, 'often', 50);
  cache.nextTurn();
  ask(cache, 'new', 40);
  cache.nextTurn();
  ask(cache, 'newer', 40);
  t.strictSame(kept(cache, 'often', 'new', 'newer'), ['new', 'newer']);
});

await t.test('what a turn has set stays until its end, as long as that is not much', async (t) => {
  const cache = new ByteLru(100);
  for (let turn = 0; turn < 8; turn++) {
    cache.nextTurn();
    for (const key of ['a', 'b', 'c', 'd', 'e']) ask(cache, key, 20);
  }
  cache.nextTurn();
  ask(cache, 'mine', 10);
  ask(cache, 'mine too', 10);
  t.strictSame(kept(cache, 'mine', 'mine too'), ['mine', 'mine too']);
  t.equal(kept(cache, 'a', 'b', 'c', 'd', 'e').length, 4);
  for (let i = 0; i < 10; i++) ask(cache, `mine ${i}`, 10);
  t.equal(kept(cache, 'a', 'b', 'c', 'd', 'e').length, 4, 'it is much now');
});

await t.test('what an entry refers to does not go before it', async (t) => {
  const cache = new ByteLru(100, { smallBytes: 40 });
  cache.nextTurn();
  ask(cache, 'needed', 30);
  ask(cache, 'needs', 10, ['needed']);
  cache.nextTurn();
  ask(cache, 'needs', 10);
  for (let i = 0; i < 60 && cache.peek('needs') !== undefined; i++) {
    cache.nextTurn();
    ask(cache, `passed over ${i}`, 50);
    if (cache.peek('needs') !== undefined) t.ok(cache.peek('needed'), `after ${i}`);
  }
  cache.clear();
  cache.set('needed', {}, 30);
  cache.set('needs', {}, 30, ['needed']);
  cache.limit(40);
  t.strictSame(kept(cache, 'needed', 'needs'), ['needed']);
  cache.resize('needed', 41);
  t.same([cache.count, cache.sizeBytes], [0, 0]);
});

await t.test('what an entry refers to stays as long as the turn that used the entry', async (t) => {
  const cache = new ByteLru(300);
  cache.nextTurn();
  ask(cache, 'needed', 90);
  ask(cache, 'needs', 30, ['needed']);
  ask(cache, 'needs too', 30, ['needed']);
  for (let turn = 0; turn < 10; turn++) {
    cache.nextTurn();
    ask(cache, 'hot', 130);
    if (turn < 5) cache.get('needs');
  }
  cache.nextTurn();
  cache.get('needs too');
  cache.set('new', {}, 75);
  t.strictSame(kept(cache, 'needed', 'needs', 'needs too', 'hot', 'new'), ['needed', 'needs too', 'new']);
});

await t.test('much that is small and used once does not drive out what all turns use', async (t) => {
  const cache = new ByteLru(10_000, { smallBytes: 100 });
  for (let turn = 0; turn < 20; turn++) {
    cache.nextTurn();
    for (let i = 0; i < 10; i++) ask(cache, `vector ${i}`, 500);
    for (let i = 0; turn >= 10 && i < 2000; i++) cache.set(`small ${turn} ${i}`, {}, 4);
  }
  t.equal(cache.misses, 10, 'once each');
});

await t.test('driving out costs no more for what the turn has used', async (t) => {
  const cache = new ByteLru(20_000);
  cache.nextTurn();
  for (let i = 0; i < 20_000; i++) cache.set(`used ${i}`, {}, 1);
  cache.nextTurn();
  for (let i = 0; i < 20_000; i++) cache.get(`used ${i}`);
  const began = process.cpuUsage();
  for (let i = 0; i < 2000; i++) cache.set(`set ${i}`, {}, 1);
  const { user } = process.cpuUsage(began);
  t.ok(user < 2_000_000, `${user} µs`);
});

await t.test('what is set anew is as often used as it was', async (t) => {
  const cache = new ByteLru(100);
  for (let turn = 0; turn < 6; turn++) {
    cache.nextTurn();
    cache.get('grows');
    cache.set('grows', {}, 20);
  }
  for (let turn = 0; turn < 4; turn++) {
    cache.nextTurn();
    cache.set(`passed over ${turn}`, {}, 60);
  }
  t.strictSame(kept(cache, 'grows'), ['grows']);
});

await t.test('no entry outlives what it refers to', async (t) => {
  const step = fc.record({ of: fc.nat(7), do: fc.nat(3), bytes: fc.integer({ min: 5, max: 60 }) });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 80 }),
      fc.constantFrom(0, 40),
      fc.boolean(),
      (steps, smallBytes, turns) => {
        const cache = new ByteLru(300, { smallBytes });
        for (const { of, do: what, bytes } of steps) {
          const dictionary = `d${of >> 1}`;
          if (what === 0 && turns) cache.nextTurn();
          else if (what === 1) ask(cache, `o${of}`, bytes);
          else if (cache.get(`v${of}`) === undefined) {
            const needed = cache.get(dictionary) ?? {};
            if (cache.peek(dictionary) === undefined) cache.set(dictionary, needed, 30);
            cache.set(`v${of}`, { needed }, bytes >> 1, [dictionary]);
          }
          for (let i = 0; i < 8; i++) {
            const vector = cache.peek<{ needed: object }>(`v${i}`);
            if (vector !== undefined) t.equal(cache.peek(`d${i >> 1}`), vector.needed);
          }
        }
      },
    ),
    { numRuns: 1000 },
  );
});

await t.test('never more than the limit, and every entry is counted', async (t) => {
  const key = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'x/a', 'x/b');
  const step = fc.oneof(
    fc.record({
      do: fc.constant('set' as const),
      key,
      bytes: fc.nat(70),
      needs: fc.array(key, { maxLength: 2 }),
    }),
    fc.record({ do: fc.constant('get' as const), key }),
    fc.record({ do: fc.constant('resize' as const), key, bytes: fc.nat(120) }),
    fc.record({ do: fc.constant('delete' as const), key }),
    fc.record({ do: fc.constantFrom('turn' as const, 'prefix' as const, 'clear' as const) }),
    fc.record({ do: fc.constant('limit' as const), bytes: fc.integer({ min: 20, max: 120 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.constantFrom(0, 16), (steps, smallBytes) => {
      const cache = new ByteLru(100, { smallBytes });
      const sizes = new Map<string, number>();
      for (const at of steps) {
        if (at.do === 'set') {
          const needs = at.needs.filter((need) => need < at.key); // nothing needs itself
          cache.set(at.key, { of: at.key }, at.bytes, needs);
          sizes.set(at.key, at.bytes);
        } else if (at.do === 'get') {
          const found = cache.get<{ of: string }>(at.key);
          if (found !== undefined) t.equal(found.of, at.key);
        } else if (at.do === 'resize') {
          if (cache.peek(at.key) !== undefined) sizes.set(at.key, at.bytes);
          cache.resize(at.key, at.bytes);
        } else if (at.do === 'delete') cache.delete(at.key);
        else if (at.do === 'limit') cache.limit(at.bytes);
        else if (at.do === 'turn') cache.nextTurn();
        else if (at.do === 'prefix') cache.deletePrefix('x/');
        else cache.clear();
        const all = [...sizes.keys()].filter((name) => cache.peek(name) !== undefined);
        t.equal(
          all.reduce((sum, name) => sum + sizes.get(name)!, 0),
          cache.sizeBytes,
        );
        t.equal(all.length, cache.count);
        t.ok(cache.sizeBytes <= cache.maxBytes);
      }
    }),
    { numRuns: 500 },
  );
});
