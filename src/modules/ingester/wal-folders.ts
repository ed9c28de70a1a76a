// The WAL folders that Grafana Tempo left in the data folder: finds them, has them made blocks, and removes
// what has become of use to nobody. What cannot be read stays where it is.
import { metaFromJson } from '../../block/meta-json.ts';
import { type BlockMeta, META_NAME } from '../../block/meta.ts';
import { TempoError } from '../../lib/errors.ts';
import { checkTenant } from '../../model/tenant.ts';
import type { ObjectStore } from '../../objectstore/objectstore.ts';
import type { OpenFile } from '../../store/log/foreign-users.ts';
import type { Logger } from '../../telemetry/log.ts';
import type { Counter } from '../../telemetry/metrics.ts';
import { ImportThreadEnded } from './wal-import-thread.ts';
import type { ImportJob, ImportReport } from './wal-import.ts';

export interface WalFoldersOptions {
  /** Over `<wal.path>`. */
  readonly store: ObjectStore;
  readonly run: (job: ImportJob) => Promise<ImportReport>;
  readonly logger: Logger;
  /** `tempo_ingester_replay_errors_total`. */
  readonly replayErrors: Counter;
  /** Of `<wal.path>`, by other processes. */
  readonly openElsewhere: () => readonly OpenFile[];
  readonly nowMs: () => number;
}

interface WalName {
  readonly folder: string;
  readonly tenant: string;
  readonly version: string;
}

/** What of a folder is in blocks: written before any of its files is deleted. */
interface TakenOver {
  /** To be deleted. */
  readonly taken: readonly string[];
  /** Read as far as they could be; kept, and not read again. */
  readonly damaged: readonly string[];
}

const TAKEN_OVER_NAME = 'taken-over.json';
const VERSIONS = new Set(['vParquet3', 'vParquet4', 'vParquet5']);
const UUID = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const FOLDER = new RegExp(`^${UUID}\\+([^+]+)\\+([^+]+)$`);
/** A WAL file of the format before Parquet. */
const FILE_V2 = new RegExp(`^${UUID}[:+]([^:+]+)[:+]v2[:+]`);

export class WalFolders {
  private readonly options: WalFoldersOptions;
  private folders = 0;
  private spans = 0;
  private unreadable = 0;

  constructor(options: WalFoldersOptions) {
    this.options = options;
  }

  /** Resolves when all that can be read is in complete local blocks. */
  async takeOver(): Promise<void> {
    const { store, logger, nowMs } = this.options;
    const startedMs = nowMs();
    const found = (await store.listFolders('')).toSorted().flatMap((folder): WalName[] => {
      const [, tenant, version] = FOLDER.exec(folder) ?? [];
      return tenant === undefined || version === undefined ? [] : [{ folder, tenant, version }];
    });
    if (found.length > 0) this.refuseInUse(found);
    for (const name of found) await this.folder(name);
    for (const file of await store.listObjects('')) {
      const tenant = FILE_V2.exec(file)?.[1];
      if (tenant !== undefined) this.leave(tenant, { file }, 'format v2 is not supported');
    }
    if (this.folders === 0 && this.unreadable === 0) return;
    const { folders, spans, unreadable } = this;
    logger.info('wal of tempo is taken over', {
      folders,
      spans,
      unreadable,
      duration_ms: nowMs() - startedMs,
    });
  }

  private refuseInUse(found: readonly WalName[]): void {
    for (const { pid, path } of this.options.openElsewhere()) {
      const [folder] = path.split('/');
      if (!found.some((name) => name.folder === folder)) continue;
      throw new TempoError('unavailable', `wal folder ${folder} is in use by process ${pid}: stop it first`);
    }
  }

  private async folder(name: WalName): Promise<void> {
    const { logger, store } = this.options;
    const { folder, tenant } = name;
    const before = await this.takenOver(name);
    if (before === undefined) return;
    const damaged = await this.tidy(folder, before);
    const files = await this.files(folder, damaged);
    if (damaged.length > 0) this.leave(tenant, { folder, files: damaged }, 'damaged, was read in part');
    if (files.length === 0) {
      if (damaged.length > 0) return;
      await store.deleteFolder(folder);
      logger.info('wal folder of tempo holds nothing to read and is removed', { folder, tenant });
      return;
    }
    const report = await this.import(name, files);
    if (report === undefined) return;
    for (const { file, spans, reason } of report.failed) this.leave(tenant, { folder, file, spans }, reason);
    const inPart = report.failed.filter(({ spans }) => spans > 0).map(({ file }) => file);
    const state: TakenOver = { taken: report.taken, damaged: [...damaged, ...inPart] };
    if (state.taken.length + inPart.length > 0) {
      await store.write(`${folder}/${TAKEN_OVER_NAME}`, new TextEncoder().encode(JSON.stringify(state)));
      await this.tidy(folder, state);
    }
    if (report.failed.length + damaged.length === 0) await store.deleteFolder(folder);
  }

  private async import(name: WalName, files: readonly string[]): Promise<ImportReport | undefined> {
    const { logger, nowMs, run } = this.options;
    const { folder, tenant } = name;
    const startedMs = nowMs();
    let report: ImportReport;
    try {
      report = await run({ folder, files, meta: await this.meta(name) });
    } catch (err) {
      if (!isUnreadable(err)) throw err;
      this.leave(tenant, { folder, err }, err.message);
      return undefined;
    }
    const { blockIds, traces, spans } = report;
    this.folders++;
    this.spans += spans;
    logger.info('wal folder of tempo is in blocks', {
      folder,
      tenant,
      files: report.taken.length,
      traces,
      spans,
      blocks: blockIds.join(','),
      duration_ms: nowMs() - startedMs,
    });
    return report;
  }

  /** @throws TempoError `block_corrupt` or `unimplemented` when the folder cannot be read. */
  private async meta({ folder, tenant, version }: WalName): Promise<BlockMeta> {
    if (!VERSIONS.has(version)) {
      throw new TempoError('unimplemented', `format ${version} is not supported`);
    }
    const meta = metaFromJson(await this.options.store.read(`${folder}/${META_NAME}`));
    if (meta.tenantId !== tenant) {
      throw new TempoError('block_corrupt', `meta.json names tenant ${meta.tenantId}, the folder ${tenant}`);
    }
    checkTenant(tenant);
    return meta;
  }

  /** Files with content that are not known to be in blocks, oldest first. */
  private async files(folder: string, damaged: readonly string[]): Promise<string[]> {
    const { store } = this.options;
    const files: string[] = [];
    for (const name of (await store.listObjects(folder)).toSorted()) {
      if (name === META_NAME || name === TAKEN_OVER_NAME || damaged.includes(name)) continue;
      // Empty: it was begun when the process ended.
      if ((await store.stat(`${folder}/${name}`)).sizeBytes > 0) files.push(name);
    }
    return files;
  }

  /** What an earlier takeover has noted; undefined = that cannot be read, and the folder is left. */
  private async takenOver({ folder, tenant }: WalName): Promise<TakenOver | undefined> {
    const { store } = this.options;
    if (!(await store.listObjects(folder)).includes(TAKEN_OVER_NAME)) return { taken: [], damaged: [] };
    const bytes = await store.read(`${folder}/${TAKEN_OVER_NAME}`);
    try {
      return takenOverFromJson(new TextDecoder().decode(bytes));
    } catch (err) {
      this.leave(tenant, { folder, err }, `${TAKEN_OVER_NAME} is damaged`);
      return undefined;
    }
  }

  /** Deletes what is in blocks; answers what stays. */
  private async tidy(folder: string, { taken, damaged }: TakenOver): Promise<readonly string[]> {
    for (const file of taken) await this.options.store.delete(`${folder}/${file}`);
    return damaged;
  }

  private leave(tenant: string, fields: Readonly<Record<string, unknown>>, reason: string): void {
    this.unreadable++;
    this.options.replayErrors.inc({ tenant });
    this.options.logger.error('wal of tempo cannot be read, it is left where it is', {
      tenant,
      ...fields,
      reason,
    });
  }
}

function isUnreadable(err: unknown): err is Error {
  if (err instanceof ImportThreadEnded) return true;
  return (
    err instanceof TempoError &&
    ['block_corrupt', 'unimplemented', 'not_found', 'invalid_argument'].includes(err.code)
  );
}

function takenOverFromJson(text: string): TakenOver {
  const { taken, damaged } = (JSON.parse(text) ?? {}) as Readonly<Record<string, unknown>>;
  if (!isTexts(taken) || !isTexts(damaged)) throw new TempoError('invalid_argument', 'names no files');
  return { taken, damaged };
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string');
}
