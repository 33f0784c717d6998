"""The columns of KuaiRand's event log. The simulator writes the same columns."""

from __future__ import annotations

import pyarrow as pa

from eventlog.columns import LogColumns
from eventlog.history_settings import HistorySettings

IMMEDIATE_TASKS = ("click", "long_view", "watch_time", "like", "profile_enter", "comment")
DELAYED_TASKS = ("ltv",)
LTV_WINDOW_SPANS = 2
"""E(LTV) is the user's watch time over this number of spans after the impression's span."""
LTV_DELAY = LTV_WINDOW_SPANS + 1
"""The log of span N holds the matured rows of span N - LTV_DELAY."""

HISTORY = HistorySettings(
    entities={entity: f"{entity}_id" for entity in ("user", "video", "author")},
    tasks=IMMEDIATE_TASKS,
    prior_strength=10.0,
)
"""Half of the users have at most seven impressions in the whole log, so without a prior their rates would be
mostly chance. A beta-binomial prior has the strength p (1 - p) / variance - 1. On KuaiRand-Pure, the method
of moments estimates 6 (users) and 8 to 9 (videos) for click and long_view, and 4 (users) and 49 (videos) for
like. The strength 10 lies between these estimates.
"""

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
LOG_COLUMNS = LogColumns(
    delays=dict.fromkeys(IMMEDIATE_TASKS, 0) | dict.fromkeys(DELAYED_TASKS, LTV_DELAY),
    features={field.name: field.type for field in (*FEATURE_COLUMNS, *HISTORY.columns)},
)
"""Labels are 0 or 1, except `label_watch_time` and `label_ltv`: log1p of seconds, which are heavy-tailed."""
LOG_SCHEMA = LOG_COLUMNS.schema
