"""The columns of the impression log: one set, whichever source wrote it.

A row is *fresh* in the span of its impression, and *matured* in the span after its delayed labels' window
closed. A fresh row has null delayed labels; a matured row has null everything else. `impression_span`
tells them apart: it equals the span the row lies in for fresh rows and is smaller for matured ones.
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
"""H: E(LTV) is the user's watch time over the H spans after the impression's span."""
MATURITY_SPANS = LTV_WINDOW_SPANS + 1
"""The log of span N holds the matured rows of span N - MATURITY_SPANS."""

HISTORY_ENTITIES = ("user", "video", "author")

FIXED = pa.schema(
    [
        pa.field(EXAMPLE_ID, pa.string(), nullable=False),
        pa.field(EVENT_TIME_MS, pa.int64(), nullable=False),
        pa.field(IMPRESSION_SPAN, pa.int64(), nullable=False),
        pa.field(SURFACE, pa.string(), nullable=False),
        pa.field(CLUSTER_ID, pa.string(), nullable=False),
    ]
)
LABELS = pa.schema([pa.field(LABEL_PREFIX + task, pa.float32()) for task in IMMEDIATE_TASKS + DELAYED_TASKS])
"""0 or 1; `label_watch_time` and `label_ltv` are log1p of seconds, since both are heavy-tailed."""
FEATURES = pa.schema(
    [
        pa.field("user_id", pa.string()),
        pa.field("video_id", pa.string()),
        pa.field("author_id", pa.string()),
        pa.field("upload_type", pa.string()),
        pa.field("user_active_degree", pa.string()),
        pa.field("tag", pa.list_(pa.string())),
        pa.field("user_traits", pa.list_(pa.string())),
        pa.field("hour", pa.int64()),
        pa.field("duration_seconds", pa.float32()),
        pa.field("video_age_days", pa.float32()),
        pa.field("follow_user_num", pa.float32()),
        pa.field("fans_user_num", pa.float32()),
        pa.field("friend_user_num", pa.float32()),
        pa.field("register_days", pa.float32()),
    ]
)
HISTORY = pa.schema(
    [
        pa.field(f"history_{entity}_{figure}", pa.float32())
        for entity in HISTORY_ENTITIES
        for figure in ("count", *IMMEDIATE_TASKS)
    ]
)
"""Per entity: `count`, log1p of its impressions, and the smoothed mean of each immediate label."""

LOG_SCHEMA = pa.schema([*FIXED, *LABELS, *FEATURES, *HISTORY])
