// Foreign programs that tests need: their paths come from the environment, and a missing one is an error.
import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';

export type Component =
  | 'TELEMETRYGEN'
  | 'PYARROW_PYTHON'
  | 'GRPCIO_PYTHON'
  | 'COLLECTOR'
  | 'CHROMIUM'
  | 'IMAGE_STORAGE'
  | 'PROMETHEUS'
  | 'PROMTOOL';

/** @throws Error when the variable is not set or its program cannot be run. */
export function componentPath(name: Component): string {
  const path = process.env[name];
  if (path === undefined || path === '') throw new Error(`${name} is not set; .ci/run installs and names it`);
  accessSync(path, constants.X_OK);
  return path;
}

/** Runs a component to its end. @returns its standard output. @throws Error with its output when it fails. */
export function runComponent(name: Component, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(componentPath(name), args, { maxBuffer: 1 << 28 }, (err, stdout, stderr) => {
      if (err === null) resolve(stdout);
      else reject(new Error(`${name} failed: ${err.message}\n${stderr}`));
    });
  });
}
