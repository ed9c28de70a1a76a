// The bundle: the modules of src/ and the packages that every start needs, in a few files. Loading these in
// place of seven hundred takes a third off a start. `npm ci` makes it (make-bundle.ts); it is used only while
// every source is as it was then, and without it the sources run.
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

/** Sizes and times of change of what a bundle was made of, by path below the root. */
export type BundleInputs = Readonly<Record<string, readonly [bytes: number, mtimeMs: number]>>;

export interface BundlePlace {
  /** Holds `app/run.mjs`, `ui` and `inputs.json`. */
  readonly folder: string;
  readonly run: string;
  readonly inputs: string;
}

export function bundlePlace(root: string): BundlePlace {
  const folder = path.join(root, 'node_modules/.cache/tempo-bundle');
  return { folder, run: path.join(folder, 'app/run.mjs'), inputs: path.join(folder, 'inputs.json') };
}

/** @param files below `root`. */
export function bundleInputs(root: string, files: readonly string[]): BundleInputs {
  return Object.fromEntries(
    files.map((file) => {
      const { size, mtimeMs } = statSync(path.join(root, file));
      return [file, [size, mtimeMs]];
    }),
  );
}

/** URL of the bundle of src/app/run.ts; undefined = there is none, or none of these sources. */
export function freshBundle(root: string): string | undefined {
  const { run, inputs } = bundlePlace(root);
  try {
    const madeOf = JSON.parse(readFileSync(inputs, 'utf8')) as BundleInputs;
    for (const [file, [bytes, mtimeMs]] of Object.entries(madeOf)) {
      const now = statSync(`${root}/${file}`);
      if (now.size !== bytes || now.mtimeMs !== mtimeMs) return undefined;
    }
    statSync(run);
    return pathToFileURL(run).href;
  } catch {
    return undefined; // it was never made, or a source is gone
  }
}
