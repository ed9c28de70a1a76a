// The schema in a file's footer. It is the same in most files of a store, and a fifth of their footers: one
// that was read before is recognised by its bytes.
import { ByteWriter } from '../lib/byte-writer.ts';
import { corrupt } from './corrupt.ts';
import { schemaLeaves } from './schema-levels.ts';
import type { ThriftReader } from './thrift-reader.ts';
import { ThriftType } from './thrift-writer.ts';
import type { Leaf, LogicalType, PhysicalType, Repetition, SchemaNode } from './types.ts';

const SCHEMA_DEPTH_MAX = 32;
/** Levels are kept in 3 bits. */
const LEVEL_MAX = 7;
/** From that length on a list's header has its length apart. */
const LONG_LIST = 15;

/** By the numbers of the format. */
export const PHYSICAL_TYPES: readonly (PhysicalType | undefined)[] = [
  'BOOLEAN',
  'INT32',
  'INT64',
  undefined,
  undefined,
  'DOUBLE',
  'BYTE_ARRAY',
  undefined,
];
const REPETITIONS: readonly Repetition[] = ['REQUIRED', 'OPTIONAL', 'REPEATED'];
const CONVERTED: Readonly<Record<number, LogicalType>> = {
  0: 'STRING',
  1: 'MAP',
  2: 'MAP',
  3: 'LIST',
  13: 'UINT_32',
  14: 'UINT_64',
  17: 'INT_32',
  18: 'INT_64',
};

const text = new TextDecoder();
const encoder = new TextEncoder();

interface SchemaElement {
  readonly name: string;
  readonly repetition: Repetition;
  readonly type: PhysicalType | undefined;
  readonly logical: LogicalType | undefined;
  readonly childCount: number;
  readonly isLeaf: boolean;
}

/** A schema, and how footers spell it. */
export interface KnownSchema {
  readonly root: SchemaNode;
  readonly leaves: readonly Leaf[];
  /** Of each leaf its path as a list of strings, as column chunks have it. */
  readonly paths: readonly Uint8Array[];
  readonly bytes: Uint8Array;
}

/** What was read last, first: nearly all blocks of a store have one of a few schemas. */
const known: KnownSchema[] = [];
const KNOWN_MAX = 16;
/** Larger ones are nobody's: that of a block has 2 to 4 KiB. */
const KNOWN_BYTES_MAX = 64 << 10;

/** One that was read before is the same object again. */
export function readSchema(reader: ThriftReader): KnownSchema {
  const at = known.findIndex(({ bytes }) => reader.passIfEqual(bytes));
  const from = reader.pos;
  const schema = at < 0 ? schemaOf(parseSchema(reader), reader.since(from)) : known[at]!;
  if (at > 0) known.splice(at, 1);
  if (at !== 0 && schema.bytes.length <= KNOWN_BYTES_MAX) known.unshift(schema);
  if (known.length > KNOWN_MAX) known.pop();
  return schema;
}

function schemaOf(root: SchemaNode, bytes: Uint8Array): KnownSchema {
  const leaves = schemaLeaves(root);
  return { root, leaves, paths: leaves.map(storedPath), bytes };
}

function storedPath({ path }: Leaf): Uint8Array {
  const out = new ByteWriter(128);
  if (path.length < LONG_LIST) out.u8((path.length << 4) | ThriftType.binary);
  else {
    out.u8((LONG_LIST << 4) | ThriftType.binary);
    out.varint(path.length);
  }
  for (const part of path) {
    const bytes = encoder.encode(part);
    out.varint(bytes.length);
    out.raw(bytes);
  }
  return out.view().slice();
}

function parseSchema(reader: ThriftReader): SchemaNode {
  const count = reader.list();
  const elements: SchemaElement[] = [];
  for (let i = 0; i < count; i++) elements.push(readSchemaElement(reader));
  const state = { next: 0 };
  const root = buildNode(elements, state, 0);
  if (state.next !== elements.length) throw corrupt('the schema is no tree');
  for (const leaf of schemaLeaves(root)) {
    if (leaf.maxDefinition > LEVEL_MAX) throw corrupt(`column ${leaf.path.join('.')} is nested too deeply`);
  }
  return root;
}

function readSchemaElement(reader: ThriftReader): SchemaElement {
  let type: PhysicalType | undefined;
  let isLeaf = false;
  let repetition: Repetition = 'REQUIRED';
  let name = '';
  let childCount = 0;
  let converted: LogicalType | undefined;
  const outer = reader.enter();
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        type = PHYSICAL_TYPES[reader.int()];
        isLeaf = true;
        break;
      case 3:
        repetition = REPETITIONS[reader.int()];
        break;
      case 4:
        name = text.decode(reader.binary());
        break;
      case 5:
        childCount = reader.count();
        break;
      case 6:
        converted = CONVERTED[reader.int()];
        break;
      default:
        reader.skip();
    }
  }
  reader.leave(outer);
  if (repetition === undefined) throw corrupt(`column ${name} has no known repetition`);
  return { name, repetition, type, logical: converted, childCount, isLeaf };
}

function buildNode(elements: readonly SchemaElement[], state: { next: number }, depth: number): SchemaNode {
  const element = elements[state.next++];
  if (element === undefined || depth > SCHEMA_DEPTH_MAX) throw corrupt('the schema is no tree');
  const { name, repetition, type, logical, childCount } = element;
  const described = { name, repetition, ...(logical === undefined ? {} : { logical }) };
  if (element.isLeaf) {
    if (type === undefined) throw corrupt(`column ${name} has a type that is not supported`);
    return { ...described, type };
  }
  const children: SchemaNode[] = [];
  for (let i = 0; i < childCount; i++) children.push(buildNode(elements, state, depth + 1));
  return { ...described, children };
}
