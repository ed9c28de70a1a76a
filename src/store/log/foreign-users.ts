// Finds files of a folder that other processes have open: Grafana Tempo takes no lock, and its WAL must not
// be taken away while it writes.
import * as fs from 'node:fs';

const PID = /^\d+$/;

export interface OpenFile {
  readonly pid: number;
  /** Within the folder. */
  readonly path: string;
}

/**
 * As far as /proc shows them: none where there is no /proc, and none of other users unless this process is
 * root.
 */
export function filesOpenElsewhere(folder: string): OpenFile[] {
  const prefix = `${fs.realpathSync(folder)}/`;
  const pids = names('/proc').filter((name) => PID.test(name) && Number(name) !== process.pid);
  return pids.flatMap((pid) =>
    names(`/proc/${pid}/fd`)
      .map((fd) => targetOf(`/proc/${pid}/fd/${fd}`))
      .filter((target) => target.startsWith(prefix))
      .map((target) => ({ pid: Number(pid), path: target.slice(prefix.length) })),
  );
}

function names(folder: string): string[] {
  try {
    return fs.readdirSync(folder);
  } catch {
    return []; // gone meanwhile, or not ours to see
  }
}

function targetOf(link: string): string {
  try {
    return fs.readlinkSync(link);
  } catch {
    return ''; // closed meanwhile
  }
}
