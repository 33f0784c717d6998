"""Hashes example ids and label rows; finds duplicate example ids."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from eventlog.rows import EXAMPLE_ID

Array = Any


def hash_ids(ids: pa.ChunkedArray) -> Array:
    """Hashes each id to 64 bits.

    Args:
        ids: `[rows]` string without nulls.

    Returns:
        `[rows]` uint64, the same on every machine and in every process, unlike Python's `hash`.
    """
    return pd.util.hash_array(ids.to_numpy().astype(object), categorize=False)


def compute_checksum(table: pa.Table) -> int:
    """Returns a 64-bit checksum of a table's example ids and soft labels.

    The checksum is the sum of the rows' hashes modulo 2**64, so the order of the rows does not matter. The
    checksum of a set is the sum of its shards' checksums modulo 2**64, so the sharding does not matter.

    Args:
        table: label rows with `example_id` and `soft_<task>` float32; other columns are ignored.
    """
    if table.num_rows == 0:
        return 0
    rows = hash_ids(table[EXAMPLE_ID])
    for position, name in enumerate(sorted(f.name for f in table.schema if f.type == pa.float32())):
        values = table[name].to_numpy().astype(np.float32).view(np.uint32).astype(np.uint64)
        # With the position, two rows with the same values in swapped columns have different hashes.
        rows = _mix(rows ^ _mix(values + np.uint64(position << 32)))
    return int(rows.sum(dtype=np.uint64))


def duplicated_ids(ids: pa.ChunkedArray) -> list[str]:
    """Returns the first three ids, in sorted order, that appear more than once.

    Args:
        ids: `[rows]` string without nulls.
    """
    hashes = hash_ids(ids)
    ordered = np.sort(hashes)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(repeated):
        return []
    # Two different ids may share a hash, so compare the ids themselves.
    suspects = pd.Series(ids.filter(pa.array(np.isin(hashes, repeated))).to_pandas())
    return sorted(suspects[suspects.duplicated()].unique().tolist())[:3]


def _mix(values: Array) -> Array:
    """Hashes uint64 by the finaliser of SplitMix64: each input bit changes about half of the output bits."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
