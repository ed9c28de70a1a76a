// The shapes of a Parquet file's metadata, shared by the reading and the writing side. Names follow the
// format's own (github.com/apache/parquet-format, parquet.thrift).

export type PhysicalType = 'BOOLEAN' | 'INT32' | 'INT64' | 'DOUBLE' | 'BYTE_ARRAY';
export type LogicalType = 'STRING' | 'INT_32' | 'INT_64' | 'UINT_32' | 'UINT_64' | 'LIST' | 'MAP';
export type Repetition = 'REQUIRED' | 'OPTIONAL' | 'REPEATED';
export type Codec = 'UNCOMPRESSED' | 'SNAPPY' | 'ZSTD';
export type Encoding =
  | 'PLAIN'
  | 'RLE'
  | 'RLE_DICTIONARY'
  | 'PLAIN_DICTIONARY'
  | 'DELTA_BINARY_PACKED'
  | 'DELTA_LENGTH_BYTE_ARRAY'
  | 'DELTA_BYTE_ARRAY';

/** Compression is given from outside, so that this folder needs no native module. */
export interface Compressor {
  readonly codec: Codec;
  compress(bytes: Uint8Array): Uint8Array;
}
/** CRC-32 (the one of gzip) of bytes that follow those whose sum is `before`. */
export type Checksum = (bytes: Uint8Array, before?: number) => number;

export interface Decompressors {
  /** Pages that carry a checksum are checked with it. */
  readonly crc32: Checksum;
  /** @param target memory of that length that may be used for the result. */
  decompress(codec: Codec, bytes: Uint8Array, uncompressedBytes: number, target?: Uint8Array): Uint8Array;
}

export interface SchemaNode {
  readonly name: string;
  readonly repetition: Repetition;
  /** Leaves only. */
  readonly type?: PhysicalType;
  readonly logical?: LogicalType;
  readonly children?: readonly SchemaNode[];
}

/** A leaf with its levels worked out. */
export interface Leaf {
  readonly path: readonly string[];
  readonly type: PhysicalType;
  readonly logical: LogicalType | undefined;
  readonly maxDefinition: number;
  readonly maxRepetition: number;
}

export interface Statistics {
  readonly min: Uint8Array | undefined;
  readonly max: Uint8Array | undefined;
  readonly nullCount: number | undefined;
}

export interface ColumnChunk {
  readonly leaf: Leaf;
  readonly codec: Codec;
  readonly encodings: readonly Encoding[];
  /**
   * Encodings of the data pages, where the file says so (`encodings` mixes them with the dictionary's and
   * levels').
   */
  readonly pageEncodings: readonly Encoding[] | undefined;
  /** Levels, nulls included. */
  readonly valueCount: number;
  readonly compressedBytes: number;
  readonly uncompressedBytes: number;
  readonly dataPageOffset: number;
  readonly dictionaryPageOffset: number | undefined;
  readonly columnIndexOffset: number | undefined;
  readonly columnIndexBytes: number | undefined;
  readonly offsetIndexOffset: number | undefined;
  readonly offsetIndexBytes: number | undefined;
  readonly statistics: Statistics | undefined;
}

export interface RowGroup {
  readonly rowCount: number;
  readonly totalBytes: number;
  readonly columns: readonly ColumnChunk[];
}

export interface FileMetadata {
  readonly schema: SchemaNode;
  readonly leaves: readonly Leaf[];
  readonly rowCount: number;
  readonly rowGroups: readonly RowGroup[];
  readonly createdBy: string | undefined;
}

/** Where each data page of a column chunk is and which row it begins with. */
export interface PageLocation {
  readonly offset: number;
  readonly compressedBytes: number;
  readonly firstRow: number;
}
