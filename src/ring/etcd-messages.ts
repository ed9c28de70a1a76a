// The few messages of etcd's API that rings need (etcd/api/etcdserverpb/rpc.proto, version 3).
import { ByteWriter } from '../lib/byte-writer.ts';
import { bytesField, textField, varintField } from '../lib/protobuf.ts';
import { BYTES, VARINT, WireCursor } from '../model/otlp/wire.ts';

export const RANGE_PATH = '/etcdserverpb.KV/Range';
export const TXN_PATH = '/etcdserverpb.KV/Txn';
export const WATCH_PATH = '/etcdserverpb.Watch/Watch';
export const AUTHENTICATE_PATH = '/etcdserverpb.Auth/Authenticate';

/** Compare.target: the version of a key, 0 where there is none. */
const TARGET_VERSION = 0;

export interface StoredValue {
  readonly value: Uint8Array;
  /** How often the key was written. */
  readonly version: number;
}

export function rangeRequest(key: string): Uint8Array {
  const out = new ByteWriter(64);
  textField(out, 1, key);
  return out.copy();
}

/** The value of the one key; undefined = there is none. */
export function rangeAnswer(bytes: Uint8Array): StoredValue | undefined {
  let found: StoredValue | undefined;
  eachField(bytes, {
    bytes: (field, value) => {
      if (field === 2) found = keyValue(value);
    },
  });
  return found;
}

/** Writes a value if the key was written so often. */
export function putRequest(key: string, value: Uint8Array, version: number): Uint8Array {
  const compare = new ByteWriter(64);
  varintField(compare, 2, TARGET_VERSION);
  textField(compare, 3, key);
  // Also 0 is said: one of several fields must be there.
  compare.varint(4 << 3);
  compare.varint(version);
  const put = new ByteWriter(value.length + 64);
  textField(put, 1, key);
  bytesField(put, 2, value);
  const success = new ByteWriter(value.length + 80);
  bytesField(success, 2, put.view());
  const out = new ByteWriter(value.length + 160);
  bytesField(out, 1, compare.view());
  bytesField(out, 2, success.view());
  return out.copy();
}

/** Whether it was written. */
export function putAnswer(bytes: Uint8Array): boolean {
  let hasSucceeded = false;
  eachField(bytes, {
    number: (field, value) => {
      if (field === 2) hasSucceeded = value !== 0;
    },
  });
  return hasSucceeded;
}

export function watchRequest(key: string): Uint8Array {
  const create = new ByteWriter(64);
  textField(create, 1, key);
  const out = new ByteWriter(80);
  bytesField(out, 1, create.view());
  return out.copy();
}

export interface WatchAnswer {
  /** The watch is in effect from now on. */
  readonly isCreated: boolean;
  readonly isCancelled: boolean;
  /** Values of the key, oldest first; undefined = it was deleted. */
  readonly values: readonly (Uint8Array | undefined)[];
}

export function watchAnswer(bytes: Uint8Array): WatchAnswer {
  let [isCreated, isCancelled] = [false, false];
  const values: (Uint8Array | undefined)[] = [];
  eachField(bytes, {
    number: (field, value) => {
      if (field === 3) isCreated = value !== 0;
      if (field === 4) isCancelled = value !== 0;
    },
    bytes: (field, value) => {
      if (field === 11) values.push(eventValue(value));
    },
  });
  return { isCreated, isCancelled, values };
}

export function authenticateRequest(name: string, password: string): Uint8Array {
  const out = new ByteWriter(64);
  textField(out, 1, name);
  textField(out, 2, password);
  return out.copy();
}

/** The token that later calls carry. */
export function authenticateAnswer(bytes: Uint8Array): string {
  let token = '';
  eachField(bytes, {
    bytes: (field, value) => {
      if (field === 2) token = Buffer.from(value).toString();
    },
  });
  return token;
}

function eventValue(bytes: Uint8Array): Uint8Array | undefined {
  let isDeleted = false;
  let value: Uint8Array | undefined;
  eachField(bytes, {
    number: (field, type) => {
      if (field === 1) isDeleted = type !== 0;
    },
    bytes: (field, stored) => {
      if (field === 2) ({ value } = keyValue(stored));
    },
  });
  return isDeleted ? undefined : value;
}

function keyValue(bytes: Uint8Array): StoredValue {
  let value: Uint8Array = new Uint8Array(0);
  let version = 0;
  eachField(bytes, {
    number: (field, number) => {
      if (field === 4) version = number;
    },
    bytes: (field, stored) => {
      if (field === 5) value = stored;
    },
  });
  return { value, version };
}

interface FieldTakers {
  readonly number?: (field: number, value: number) => void;
  readonly bytes?: (field: number, value: Uint8Array) => void;
}

function eachField(bytes: Uint8Array, take: FieldTakers): void {
  const cursor = new WireCursor(bytes);
  const end = bytes.length;
  while (cursor.pos < end) {
    const tag = cursor.tag(end);
    if ((tag & 7) === VARINT) {
      const value = cursor.varint(end);
      take.number?.(tag >>> 3, value);
    } else if ((tag & 7) === BYTES) {
      const valueEnd = cursor.valueEnd(end);
      take.bytes?.(tag >>> 3, bytes.subarray(cursor.pos, valueEnd));
      cursor.pos = valueEnd;
    } else {
      cursor.skip(tag & 7, end);
    }
  }
}
