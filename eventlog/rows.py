"""The columns of the event log, equal for every source.

A *fresh* row lies in the span of its impression. Its delayed labels are null. The *matured* row of the same
impression lies in the span after the window of the delayed labels. Its immediate labels are null. A row is
fresh if `impression_span` equals the span that holds the row, and matured if `impression_span` is smaller.
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

IMMEDIATE_TASKS = ("click", "long_view", "watch_time", "like", "profile_enter", "comment")
DELAYED_TASKS = ("ltv",)
LTV_WINDOW_SPANS = 2
"""E(LTV) is the user's watch time over this number of spans after the impression's span."""
MATURITY_SPANS = LTV_WINDOW_SPANS + 1
"""The log of span N holds the matured rows of span N - MATURITY_SPANS."""

HISTORY_ENTITIES = ("user", "video", "author")
"""Kinds of entities with history features; the ids are in the columns `<kind>_id`."""

FIXED_COLUMNS = pa.schema(
    [
        pa.field(EXAMPLE_ID, pa.string(), nullable=False),
        pa.field(EVENT_TIME_MS, pa.int64(), nullable=False),
        pa.field(IMPRESSION_SPAN, pa.int64(), nullable=False),
        pa.field(SURFACE, pa.string(), nullable=False),
        pa.field(CLUSTER_ID, pa.string(), nullable=False),
    ]
)
LABEL_COLUMNS = pa.schema(
    [pa.field(LABEL_PREFIX + task, pa.float32()) for task in IMMEDIATE_TASKS + DELAYED_TASKS]
)
"""0 or 1, except `label_watch_time` and `label_ltv`: log1p of seconds, because both are heavy-tailed."""
_STRING_FEATURES = ("user_id", "video_id", "author_id", "upload_type", "user_active_degree")
_NUMBER_FEATURES = (
    "duration_seconds", "video_age_days", "follow_user_num", "fans_user_num", "friend_user_num",
    "register_days",
)  # fmt: skip
FEATURE_COLUMNS = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in _STRING_FEATURES),
        *(pa.field(name, pa.list_(pa.string())) for name in ("tag", "user_traits")),
        pa.field("hour", pa.int64()),
        *(pa.field(name, pa.float32()) for name in _NUMBER_FEATURES),
    ]
)
HISTORY_COLUMNS = pa.schema(
    [
        pa.field(f"history_{entity}_{name}", pa.float32())
        for entity in HISTORY_ENTITIES
        for name in ("count", *IMMEDIATE_TASKS)
    ]
)
"""`count` is log1p of the entity's number of impressions; the others are its smoothed means of labels."""

LOG_SCHEMA = pa.schema([*FIXED_COLUMNS, *LABEL_COLUMNS, *FEATURE_COLUMNS, *HISTORY_COLUMNS])
