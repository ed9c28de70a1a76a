// Doors of a cluster's processes: ports that pass on to the real ones, told to all in their place, so that a
// test can cut some processes off from others. What is cut is silent, as in a network: nothing is closed, and
// what was on its way arrives when it is mended. Who calls is found in /proc: Linux only.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';

interface Passage {
  readonly from: Socket;
  /** undefined = not yet called, as it was cut when it came. */
  to: Socket | undefined;
  readonly role: string;
  readonly port: number;
  isCut: boolean;
}

/** The process, by its name, that has the other end of a connection to us. */
class Callers {
  private readonly pidsOf: () => ReadonlyMap<string, number>;
  private owners = new Map<string, string>();

  constructor(pidsOf: () => ReadonlyMap<string, number>) {
    this.pidsOf = pidsOf;
  }

  /** @param port of the caller. undefined = it is gone, or none of ours. */
  nameOf(port: number): string | undefined {
    const inode = inodeOf(port);
    if (inode === undefined) return undefined;
    const known = this.owners.get(inode);
    if (known !== undefined) return known;
    this.owners = this.scanned();
    return this.owners.get(inode);
  }

  private scanned(): Map<string, string> {
    const owners = new Map<string, string>();
    for (const [name, pid] of this.pidsOf()) {
      for (const link of linksOf(pid)) {
        const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1];
        if (inode !== undefined) owners.set(inode, name);
      }
    }
    return owners;
  }
}

function linksOf(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  const link = (fd: string): string => {
    try {
      return readlinkSync(`${folder}/${fd}`);
    } catch {
      return ''; // closed meanwhile
    }
  };
  try {
    return readdirSync(folder).map(link);
  } catch {
    return []; // the process is gone
  }
}

function inodeOf(port: number): string | undefined {
  const local = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  for (const line of readFileSync('/proc/net/tcp', 'utf8').split('\n')) {
    const fields = line.trim().split(/\s+/);
    if (fields[1] === local) return fields[9];
  }
  return undefined;
}

export class Doors {
  private readonly servers: Server[] = [];
  private readonly passages = new Set<Passage>();
  private readonly callers: Callers;
  /** Names of one side; undefined = all is well. */
  private side: ReadonlySet<string> | undefined;

  /** @param pidsOf process ids by name, as they are now. */
  constructor(pidsOf: () => ReadonlyMap<string, number>) {
    this.callers = new Callers(pidsOf);
  }

  /** @returns the port that stands for `port` of the process with that name. */
  async open(role: string, port: number): Promise<number> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (from) =>
      this.enter(role, port, from),
    );
    this.servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return (server.address() as AddressInfo).port;
  }

  /** Cuts these off from all others. */
  cut(side: readonly string[]): void {
    this.side = new Set(side);
    for (const passage of this.passages) {
      if (!this.isAcross(passage)) continue;
      passage.isCut = true;
      passage.from.pause();
      passage.to?.pause();
    }
  }

  mend(): void {
    this.side = undefined;
    for (const passage of this.passages) {
      if (!passage.isCut) continue;
      passage.isCut = false;
      if (passage.to === undefined) this.call(passage);
      passage.from.resume();
      passage.to?.resume();
    }
  }

  async close(): Promise<void> {
    for (const { from, to } of this.passages) {
      from.destroy();
      to?.destroy();
    }
    await Promise.all(this.servers.map((server) => new Promise((resolve) => server.close(resolve))));
  }

  private isAcross({ from, role }: Passage): boolean {
    if (this.side === undefined || from.remotePort === undefined) return false;
    const caller = this.callers.nameOf(from.remotePort);
    return caller !== undefined && this.side.has(caller) !== this.side.has(role);
  }

  private enter(role: string, port: number, from: Socket): void {
    const passage: Passage = { from, to: undefined, role, port, isCut: false };
    passage.isCut = this.isAcross(passage);
    this.passages.add(passage);
    from.once('close', () => {
      this.passages.delete(passage);
      passage.to?.destroy();
    });
    from.on('error', () => passage.to?.destroy());
    if (passage.isCut) from.pause();
    else this.call(passage);
  }

  private call(passage: Passage): void {
    const { from, port } = passage;
    const to = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    passage.to = to;
    to.on('error', () => from.destroy());
    to.once('close', () => from.destroy());
    const pass = (source: Socket, target: Socket): void => {
      source.on('data', (chunk) => {
        if (!target.write(chunk)) source.pause();
      });
      target.on('drain', () => {
        if (!passage.isCut) source.resume();
      });
      source.on('end', () => target.end());
    };
    pass(from, to);
    pass(to, from);
  }
}
