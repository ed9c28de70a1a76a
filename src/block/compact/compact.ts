// Merges blocks of one tenant into one: rows in the order of their trace ids, a row group at a time, one
// column of it after the other. Rows are copied as they are; only traces that lie in several inputs are made
// anew. Runs in a worker thread; files are made by the sink it is given.
import { crc32 } from 'node:zlib';
import { TempoError } from '../../lib/errors.ts';
import { IntList } from '../../lib/int-list.ts';
import { WorkMemory } from '../../lib/work-memory.ts';
import { ParquetFileWriter } from '../../parquet/file-writer.ts';
import type { Decompressors } from '../../parquet/types.ts';
import type { Entries } from '../../parquet/values.ts';
import type { BlockMeta } from '../meta.ts';
import { BlockObjects, type BlockSink } from '../vparquet/block-objects.ts';
import { CREATED_BY, type CreateOptions, defaultCreateOptions, ENCODINGS } from '../vparquet/create.ts';
import type { Block } from '../vparquet/open.ts';
import { cutPages } from '../vparquet/row-order.ts';
import { blockSchema, writtenFormat } from '../vparquet/schema.ts';
import { ValueFilterBuilder } from '../value-filter/builder.ts';
import { FilterValues, valueCountOf } from './filter-values.ts';
import { joinedFilter } from './joined-filter.ts';
import { gatherDefinition, gatherEntries, type RowRuns } from './gather.ts';
import { ValueGatherer } from './gather-values.ts';
import { type MergedRows, mergeRows } from './merge-rows.ts';
import { type ColumnMemory, type PartColumn, PartColumns } from './part-columns.ts';
import { type CombineResult, combineShared } from './shared-traces.ts';
import { type PlannedColumn, planColumns, type Structure } from './structure.ts';
import { digestOfInts } from './value-digest.ts';

export interface CompactRequest {
  /** Of one tenant, format, replication factor and list of dedicated columns; at least one. */
  readonly inputs: readonly Block[];
  readonly blockId: string;
  readonly options?: Partial<CreateOptions>;
  readonly decompressors: Decompressors;
  /** Most wire bytes of a trace whose parts are brought together; 0 = any. */
  readonly traceBytesMax: number;
  readonly sink: BlockSink;
  readonly signal?: AbortSignal;
}

export interface CompactResult extends CombineResult {
  readonly meta: BlockMeta;
  /** Of the new block. */
  readonly spans: number;
  /** What the inputs had, for comparing the new block with it. */
  readonly checksums: Checksums;
}

/** Checksums of values in the order of the new block, worked out from the inputs. */
export interface Checksums {
  /** Names. */
  readonly columns: readonly string[];
  /** Of each row group: the spans of its rows, then its columns. */
  readonly values: Int32Array;
}

/** Columns and row groups that need more are made in memory of their own. */
const MEMORY_BYTES_MAX = 64 << 20;

/** Returns when all objects are durable. After an error the block has no meta.json. */
export async function compactBlocks(request: CompactRequest): Promise<CompactResult> {
  const { inputs, sink, signal } = request;
  const metas = inputs.map(({ meta }) => meta);
  checkAlike(metas);
  const [first] = metas;
  const options = { ...defaultCreateOptions(), ...request.options };
  const schema = blockSchema(writtenFormat(first.format), first.dedicatedColumns);
  const traces = metas.reduce((sum, { totalObjects }) => sum + totalObjects, 0);
  const objects = new BlockObjects(sink, traces, options.bloom);
  const file = new ParquetFileWriter(schema.root, CREATED_BY, objects.write, crc32);
  const columns = planColumns(schema);
  checkNothingIsLost(inputs, columns);
  const { valueFilterBytesMax: bytesMax } = options;
  const valueBits = bytesMax > 0 ? await joinedFilter(inputs, bytesMax, signal) : undefined;
  const filter =
    bytesMax > 0 && valueBits === undefined
      ? new ValueFilterBuilder({ bytesMax, valuesMax: valueCountOf(inputs) })
      : undefined;
  const work = workMemory();
  const filterValues = filter && new FilterValues(filter, inputs, work.memory.column);
  const total = { combined: 0, duplicateSpans: 0, cutTraces: 0, cutSpans: 0 };
  let spans = 0;
  const checksums = new IntList();
  const limits = { rowGroupSpans: options.rowGroupSpans, rowGroupBytes: options.rowGroupWireBytes };
  for await (const rows of mergeRows(inputs, limits, signal)) {
    const combined = await combineShared(rows, {
      like: first,
      create: { ...options, valueFilterBytesMax: 0 },
      decompressors: request.decompressors,
      traceBytesMax: request.traceBytesMax,
      signal,
    });
    for (const key of Object.keys(total) as (keyof CombineResult)[]) total[key] += combined[key];
    objects.rowGroup(rows.ids);
    const copy = new RowGroupCopy(rows, columns, file, { ...options, ...work, filterValues, signal });
    spans += await copy.write(checksums);
  }
  const fields = {
    format: first.format,
    blockId: request.blockId,
    tenantId: first.tenantId,
    startSec: Math.min(...metas.map(({ startSec }) => startSec)),
    endSec: Math.max(...metas.map(({ endSec }) => endSec)),
    compactionLevel: Math.max(...metas.map(({ compactionLevel }) => compactionLevel)) + 1,
    dedicatedColumns: first.dedicatedColumns,
    replicationFactor: first.replicationFactor,
  };
  const from = metas.map(({ blockId }) => blockId);
  const meta = objects.finish(file.finish(), fields, valueBits ?? filter?.finish(), from);
  const names = columns.map(({ name }) => name);
  return { meta, spans, checksums: { columns: names, values: checksums.view().slice() }, ...total };
}

function checkAlike(metas: readonly BlockMeta[]): void {
  const [first] = metas;
  if (first === undefined) throw new Error('nothing to compact');
  const dedicated = JSON.stringify(first.dedicatedColumns);
  for (const meta of metas) {
    const isAlike =
      meta.tenantId === first.tenantId &&
      meta.format === first.format &&
      meta.replicationFactor === first.replicationFactor &&
      JSON.stringify(meta.dedicatedColumns) === dedicated;
    if (isAlike) continue;
    throw new TempoError('invalid_argument', `blocks ${first.blockId} and ${meta.blockId} are not alike`);
  }
}

/** A column with values that the new block would not have is a reason not to compact. */
function checkNothingIsLost(inputs: readonly Block[], columns: readonly PlannedColumn[]): void {
  const known = new Set(columns.map(({ name }) => name));
  for (const { rowGroups, meta } of inputs) {
    for (const { group } of rowGroups) {
      const lost = group.file.columns.names.find((name) => !known.has(name) && group.hasValues(name));
      if (lost === undefined) continue;
      throw new TempoError('unimplemented', `block ${meta.blockId}: column ${lost} cannot be written`);
    }
  }
}

interface Levels {
  readonly entries: Entries;
  readonly definition: Uint8Array | number;
}

const SPAN_ID = 'rs.ss.Spans.SpanID';

/** What is used for one column after another. */
interface CopyWork {
  readonly memory: ColumnMemory;
  readonly gatherer: ValueGatherer;
}

function workMemory(): CopyWork {
  const column = new WorkMemory(MEMORY_BYTES_MAX);
  const group = new WorkMemory(MEMORY_BYTES_MAX);
  return { memory: { column, group }, gatherer: new ValueGatherer(column) };
}

interface CopyOptions extends CreateOptions, CopyWork {
  readonly filterValues: FilterValues | undefined;
  readonly signal: AbortSignal | undefined;
}

/** One row group of the new block. */
class RowGroupCopy {
  private readonly columns: readonly PlannedColumn[];
  private readonly file: ParquetFileWriter;
  private readonly options: CopyOptions;
  private readonly parts: readonly PartColumns[];
  private readonly rows: MergedRows;
  private readonly runs: RowRuns;
  private readonly entries = new Map<Structure, Entries>();
  /** Of the anchors, so that columns without values share what is made of them. */
  private readonly shared = new Map<Structure, Levels>();

  constructor(
    rows: MergedRows,
    columns: readonly PlannedColumn[],
    file: ParquetFileWriter,
    options: CopyOptions,
  ) {
    this.rows = rows;
    this.columns = columns;
    this.file = file;
    this.options = options;
    options.memory.group.reset();
    this.parts = rows.parts.map(
      (part) => new PartColumns(part, options.memory, this.listsOf, options.signal),
    );
    this.runs = runsOf(rows, options);
  }

  /** @returns how many spans it has. */
  async write(checksums: IntList): Promise<number> {
    this.file.beginRowGroup(this.runs.pageRows);
    checksums.push(digestOfInts(this.rows.spans));
    let spans = 0;
    for (const column of this.columns) {
      this.options.signal?.throwIfAborted();
      const values = await this.column(column, checksums);
      if (column.name === SPAN_ID) spans = values;
    }
    const wanted = this.rows.spans.reduce((sum, count) => sum + count, 0);
    if (spans !== wanted) {
      throw new TempoError('internal', `a row group has ${spans} spans in place of ${wanted}`);
    }
    return spans;
  }

  /** @returns how many values were written. */
  private async column(column: PlannedColumn, checksums: IntList): Promise<number> {
    const { leaf, encoding, compressed } = column;
    const { memory, gatherer, filterValues } = this.options;
    memory.column.reset();
    const parts: PartColumn[] = [];
    for (const part of this.parts) parts.push(await part.column(column));
    const { entries, definition } = this.levels(column, parts);
    const { values, digest } = gatherer.gather(parts, this.runs, leaf, encoding === 'dictionary');
    checksums.push(digest);
    filterValues?.column(column, { entries, definition, values });
    const written = this.file.column({
      leaf,
      encoding: values.kind === 'packed' ? 'DELTA_LENGTH_BYTE_ARRAY' : ENCODINGS[encoding],
      compressor: compressed ? this.options.compressor : undefined,
      packLevels: leaf.maxRepetition > 0,
      entries,
      definition,
      values,
    });
    return written.valueCount - written.nullCount;
  }

  private levels({ structure, name }: PlannedColumn, parts: readonly PartColumn[]): Levels {
    if (parts.every(({ values }) => values === undefined)) {
      const shared = this.shared.get(this.nearest(structure));
      if (shared !== undefined) return shared;
    }
    const lists = this.listsOf(structure);
    let entries = this.entries.get(lists);
    const { column, group } = this.options.memory;
    if (entries === undefined) this.entries.set(lists, (entries = gatherEntries(parts, this.runs, group)));
    const isAnchor = name === structure.anchor;
    const memory = isAnchor ? group : column;
    const levels = { entries, definition: gatherDefinition(parts, this.runs, entries.count, memory) };
    if (isAnchor) this.shared.set(structure, levels);
    return levels;
  }

  /**
   * The list whose entries a list has: its own, or where it has one entry for each of those around it,
   * theirs. Attributes have one value each but where there are arrays.
   */
  private readonly listsOf = (structure: Structure): Structure => {
    let lists = structure;
    while (lists.parent?.parent !== undefined) {
      const { anchor, parent } = lists;
      const isSame = (part: PartColumns): boolean =>
        part.entryCount(anchor) === part.entryCount(parent.anchor);
      if (!this.parts.every(isSame)) break;
      lists = parent;
    }
    return lists;
  };

  /** The innermost list around that has elements. */
  private nearest(structure: Structure): Structure {
    let nearest = structure;
    while (nearest.parent !== undefined && !this.parts.some((part) => part.hasValues(nearest.anchor))) {
      nearest = nearest.parent;
    }
    return nearest;
  }
}

/** The runs of neighbouring rows, and where pages begin. */
function runsOf({ parts, part, row, spans }: MergedRows, options: CreateOptions): RowRuns {
  const runs = { part: new IntList(), row: new IntList(), length: new IntList() };
  const spanStarts = new Int32Array(part.length + 1);
  let from = 0;
  for (let i = 0; i < part.length; i++) {
    spanStarts[i + 1] = spanStarts[i] + spans[i];
    const isLast = i + 1 === part.length || part[i + 1] !== part[i] || row[i + 1] !== row[i] + 1;
    if (!isLast) continue;
    runs.part.push(part[from]);
    runs.row.push(row[from] - parts[part[from]].from);
    runs.length.push(i + 1 - from);
    from = i + 1;
  }
  return {
    part: runs.part.view(),
    row: runs.row.view(),
    length: runs.length.view(),
    pageRows: cutPages({ spanStarts }, 0, part.length, options),
  };
}
