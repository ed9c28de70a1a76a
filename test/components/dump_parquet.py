"""Prints the rows of a Parquet file as JSON: bytes as hex and whole numbers as decimal text, so that none is rounded."""

import json
import sys

import pyarrow.parquet as pq


def plain(value, key=""):
    if isinstance(value, bool) or value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {k: plain(v, k) for k, v in value.items()}
    if key == "ServiceStats" and isinstance(value[0], tuple):  # a map comes as a list of pairs
        return {k: plain(v) for k, v in value}
    return [plain(v) for v in value]


json.dump([plain(row) for row in pq.read_table(sys.argv[1]).to_pylist()], sys.stdout)
