// The bundle of the program: used while all that it was made of is as it was, and never else; and the script
// that starts the program.
import { mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { bundleInputs, bundlePlace, freshBundle } from '../../cmd/tempo/bundle.ts';
import { testFolder } from '../support/test-folder.ts';

const FILES = ['src/one.ts', 'src/two.ts', 'node_modules/.package-lock.json'];
const OLD_SEC = 1_700_000_000;

function rootWithBundle(folder: string): string {
  for (const file of FILES) {
    mkdirSync(path.dirname(`${folder}/${file}`), { recursive: true });
    writeFileSync(`${folder}/${file}`, file);
    utimesSync(`${folder}/${file}`, OLD_SEC, OLD_SEC);
  }
  const { run, inputs } = bundlePlace(folder);
  mkdirSync(path.dirname(run), { recursive: true });
  writeFileSync(run, '');
  writeFileSync(inputs, JSON.stringify(bundleInputs(folder, FILES)));
  return folder;
}

t.test('a bundle of these sources is used', (t) => {
  const root = rootWithBundle(testFolder(t));
  t.equal(freshBundle(root), pathToFileURL(bundlePlace(root).run).href);
  t.end();
});

t.test('one of other sources is not', (t) => {
  const table: { readonly name: string; readonly change: (root: string) => void }[] = [
    { name: 'a source is newer', change: (root) => utimesSync(`${root}/src/two.ts`, OLD_SEC, OLD_SEC + 1) },
    { name: 'a source is older', change: (root) => utimesSync(`${root}/src/two.ts`, OLD_SEC, OLD_SEC - 1) },
    {
      name: 'a source is longer, of the same time',
      change: (root) => {
        writeFileSync(`${root}/src/one.ts`, 'src/one.ts and more');
        utimesSync(`${root}/src/one.ts`, OLD_SEC, OLD_SEC);
      },
    },
    { name: 'a source is gone', change: (root) => rmSync(`${root}/src/one.ts`) },
    {
      name: 'other packages are installed',
      change: (root) =>
        writeFileSync(`${root}/node_modules/.package-lock.json`, 'node_modules/.package-loc!'),
    },
    { name: 'it is gone', change: (root) => rmSync(bundlePlace(root).run) },
    { name: 'what it is made of is unknown', change: (root) => rmSync(bundlePlace(root).inputs) },
    { name: 'its list is cut', change: (root) => writeFileSync(bundlePlace(root).inputs, '{"src/one') },
  ];
  for (const { name, change } of table) {
    const root = rootWithBundle(testFolder(t));
    change(root);
    t.equal(freshBundle(root), undefined, name);
  }
  t.end();
});

t.test('the bundle of this checkout', (t) => {
  // Sources that are being edited are newer.
  const isClean = process.env['CI'] !== undefined;
  t.equal(isClean ? freshBundle(process.cwd()) !== undefined : true, true, 'npm ci has made one');
  t.end();
});

t.test('start.sh sets what main.ts would set', (t) => {
  const main = readFileSync('cmd/tempo/main.ts', 'utf8');
  const script = readFileSync('cmd/tempo/start.sh', 'utf8');
  const settings = (text: string, form: RegExp): string[] =>
    [...text.matchAll(form)].map(([, name, value]) => `${name}=${value}`);
  const wanted = settings(main, /(MALLOC_\w+): '(\d+)'/g);
  t.equal(wanted.length, 3);
  t.same(settings(script, /(MALLOC_\w+)=(\d+)/g), wanted);
  const heap = /--initial-old-space-size=\d+/;
  t.equal(heap.exec(script)?.[0], heap.exec(main)?.[0]);
  t.end();
});
