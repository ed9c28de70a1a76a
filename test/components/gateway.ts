// nginx as `npm run cluster` starts it, on other ports.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expandEnv } from '../../src/config/expand-env.ts';
import { startComponent } from './component.ts';

/** @param env of the template, with FOLDER and HTTP_PORT. @returns what ends it. */
export async function startGateway(
  templateFile: string,
  env: Readonly<Record<string, string>>,
): Promise<() => Promise<void>> {
  const { FOLDER: folder = '', HTTP_PORT: port } = env;
  const configFile = path.join(folder, 'nginx.conf');
  writeFileSync(configFile, expandEnv(readFileSync(templateFile, 'utf8'), env, templateFile));
  const args = ['-e', 'stderr', '-p', folder, '-c', configFile];
  const url = `http://127.0.0.1:${port}/`;
  const { signal, ended } = await startComponent('NGINX_PROGRAM', args, { env: {}, url });
  return async () => {
    // Its worker goes with it.
    signal('SIGTERM');
    await ended;
  };
}
