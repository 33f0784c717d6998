"""The rows of an event log, and the columns that every log has.

A *fresh* row lies in the span of its impression. Its delayed labels are null. A *matured* row of the same
impression lies in a later span: the span in which the delayed labels become known. It has only these labels.
A row is fresh if `impression_span` equals the span that holds the row, and matured if it is smaller. The
difference is the *age* of the row. The *delay* of a label is the age of the rows that bring it. Tasks with
different delays have different matured rows.
"""

from __future__ import annotations

import pyarrow as pa

EXAMPLE_ID = "example_id"
EVENT_TIME_MS = "event_time_ms"
IMPRESSION_SPAN = "impression_span"
SURFACE = "surface"
CLUSTER_ID = "cluster_id"
LABEL_PREFIX = "label_"
SOFT_PREFIX = "soft_"
FIRST_EVENT_MS, END_EVENT_MS = 631_152_000_000, 4_102_444_800_000
"""Event times must be in [1990, 2100). Times in seconds, micro- or nanoseconds lie outside this range."""

FIXED_COLUMNS = pa.schema(
    [
        pa.field(EXAMPLE_ID, pa.string(), nullable=False),
        pa.field(EVENT_TIME_MS, pa.int64(), nullable=False),
        pa.field(IMPRESSION_SPAN, pa.int64(), nullable=False),
        pa.field(SURFACE, pa.string(), nullable=False),
        pa.field(CLUSTER_ID, pa.string(), nullable=False),
    ]
)
"""The columns that every event log has. All other columns are labels, `label_<task>`, and features."""
