// Which Tempo this is compatible with: Grafana decides by the version what it may ask for.

export const VERSION = '2.10.8';
export const REVISION = 'typescript';

/** The lines of `-version` and of /status/version. */
export function versionText(): string {
  return [
    `tempo, version ${VERSION} (branch: , revision: ${REVISION})`,
    '  build user:       ',
    '  build date:       ',
    `  node version:     ${process.version}`,
    `  platform:         ${process.platform}/${process.arch}`,
    '  tags:             unknown',
    '',
  ].join('\n');
}
