"""Converts the simulator's arrays to tables of the event log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eventlog.kuairand.columns import (
    DELAYED_TASKS,
    HISTORY,
    IMMEDIATE_TASKS,
    LOG_SCHEMA,
)
from eventlog.rows import EXAMPLE_ID, LABEL_PREFIX
from eventlog.simulator.impressions import DAY_MS, FIRST_DAY_MS, HOUR_MS, Impressions
from eventlog.simulator.state import WorldState
from eventlog.simulator.world import ACTIVE_DEGREES, NUM_TOPICS, SURFACES, UPLOAD_TYPES, VALUES_PER_TRAIT
from eventlog.totals import HistoryTotals

Array = Any

_TRUTH_PREFIX = "true_"
_TRUTH_SCHEMA = pa.schema(
    [
        pa.field(EXAMPLE_ID, pa.string(), nullable=False),
        *(pa.field(_TRUTH_PREFIX + task, pa.float32()) for task in IMMEDIATE_TASKS + DELAYED_TASKS),
    ]
)


def fresh_table(
    state: WorldState, impressions: Impressions, outcomes: Mapping[str, Array], history: HistoryTotals
) -> pa.Table:
    """The fresh rows of the current span.

    Args:
        state: the world in this span.
        impressions: the span's impressions.
        outcomes: per immediate task `[rows]` float32 labels.
        history: totals of all earlier spans.

    Returns:
        `[rows]` with the columns of LOG_SCHEMA; entity ids, surfaces and categories are dictionary-encoded.
    """
    columns = {
        **_identity_columns(state, impressions),
        **{LABEL_PREFIX + task: pa.array(outcomes[task]) for task in IMMEDIATE_TASKS},
        **{LABEL_PREFIX + task: pa.nulls(len(impressions), pa.float32()) for task in DELAYED_TASKS},
        **_user_columns(state, impressions),
        **_video_columns(state, impressions),
        **_history_columns(state, impressions, history),
    }
    return pa.table({name: columns[name] for name in LOG_SCHEMA.names})


def matured_table(fresh: pa.Table, ltv: Array) -> pa.Table:
    """The matured rows of a span: its fresh rows with `label_ltv` as the only label.

    Args:
        fresh: the fresh rows.
        ltv: `[rows]` float32, log1p of seconds.
    """
    columns = {name: fresh[name] for name in fresh.column_names}
    columns.update({LABEL_PREFIX + task: pa.nulls(len(ltv), pa.float32()) for task in IMMEDIATE_TASKS})
    columns[LABEL_PREFIX + "ltv"] = pa.array(ltv)
    return pa.table(columns)


def truth_table(example_ids: pa.Array, truth: Mapping[str, Array]) -> pa.Table:
    """`[rows]`: the ids, and for each task a float32 column `true_<task>`, null if `truth` lacks the task."""
    columns = {EXAMPLE_ID: example_ids}
    for task in IMMEDIATE_TASKS + DELAYED_TASKS:
        nulls = pa.nulls(len(example_ids), pa.float32())
        columns[_TRUTH_PREFIX + task] = pa.array(truth[task]) if task in truth else nulls
    return pa.table(columns, schema=_TRUTH_SCHEMA)


def _identity_columns(state: WorldState, impressions: Impressions) -> dict[str, pa.Array]:
    num_rows = len(impressions)
    row_numbers = pc.cast(pa.array(np.arange(num_rows)), pa.string())
    surfaces = pa.array([surface.name for surface in SURFACES])
    users = _dictionary_encoded(impressions.users, _entity_ids("u", len(state.users)))
    return {
        "example_id": pc.binary_join_element_wise(str(state.span), row_numbers, "-"),
        "event_time_ms": pa.array(FIRST_DAY_MS + state.span * DAY_MS + impressions.milliseconds),
        "impression_span": pa.array(np.full(num_rows, state.span)),
        "surface": _dictionary_encoded(impressions.surfaces, surfaces),
        "cluster_id": users,
        "user_id": users,
    }


def _user_columns(state: WorldState, impressions: Impressions) -> dict[str, pa.Array]:
    users, user = state.users, impressions.users
    register_days = users.register_days + (state.span - users.arrival_span).astype(np.float32)
    return {
        "user_active_degree": _dictionary_encoded(users.active_degree[user], pa.array(ACTIVE_DEGREES)),
        "user_traits": _trait_lists(users.traits[user]),
        "hour": pa.array(impressions.milliseconds // HOUR_MS),
        "follow_user_num": _nullable(users.followed[user]),
        "fans_user_num": _nullable(users.fans[user]),
        "friend_user_num": _nullable(users.friends[user]),
        "register_days": _nullable(register_days[user]),
    }


def _video_columns(state: WorldState, impressions: Impressions) -> dict[str, pa.Array]:
    videos, video = state.videos, impressions.videos
    duration = np.where(videos.duration_known, videos.duration, np.float32(np.nan))
    return {
        "video_id": _dictionary_encoded(video, _entity_ids("v", len(videos))),
        "author_id": _dictionary_encoded(videos.author[video], _entity_ids("a", len(state.authors))),
        "upload_type": _dictionary_encoded(videos.upload_type[video], pa.array(UPLOAD_TYPES)),
        "tag": _tag_lists(videos.tags[video]),
        "duration_seconds": _nullable(duration[video]),
        "video_age_days": pa.array((state.span - videos.upload_span).astype(np.float32)[video]),
    }


def _history_columns(
    state: WorldState, impressions: Impressions, history: HistoryTotals
) -> dict[str, pa.Array]:
    priors = history.priors()
    indices = entity_indices(state, impressions)
    sizes = {"user": len(state.users), "video": len(state.videos), "author": len(state.authors)}
    arrays = []
    for entity in HISTORY.entities:
        features = history.entities[entity].all_features(sizes[entity], priors)
        arrays += [pa.array(feature[indices[entity]]) for feature in features]
    return dict(zip(HISTORY.columns.names, arrays, strict=True))


def entity_indices(state: WorldState, impressions: Impressions) -> dict[str, Array]:
    """Per kind of entity `[rows]` int64: the index of each impression's entity."""
    author = state.videos.author[impressions.videos]
    return {"user": impressions.users, "video": impressions.videos, "author": author}


def _trait_lists(traits: Array) -> pa.Array:
    """`[rows]` list of string: tokens such as "2=4" (trait 2 has value 4); none for a missing trait."""
    num_values = max(VALUES_PER_TRAIT)
    tokens = [f"{trait}={value}" for trait in range(len(VALUES_PER_TRAIT)) for value in range(num_values)]
    codes = traits + num_values * np.arange(len(VALUES_PER_TRAIT), dtype=np.int32)
    return _token_lists(codes, traits >= 0, pa.array(tokens))


def _tag_lists(tags: Array) -> pa.Array:
    """`[rows]` list of string: the numbers of the topics."""
    return _token_lists(tags, tags >= 0, pa.array([str(tag) for tag in range(NUM_TOPICS)]))


def _token_lists(codes: Array, where: Array, tokens: pa.Array) -> pa.Array:
    """`[rows]` list of string: for each row the tokens at its `codes`, only where `where` is True."""
    offsets = np.concatenate([[0], np.cumsum(where.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), tokens.take(pa.array(codes[where])))


def _dictionary_encoded(codes: Array, values: pa.Array) -> pa.Array:
    """`[rows]`: the values at `codes`."""
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), values)


def _entity_ids(prefix: str, num_entities: int) -> pa.Array:
    """`[num_entities]` string: ids such as "u0", "u1"."""
    return pc.binary_join_element_wise(prefix, pc.cast(pa.array(np.arange(num_entities)), pa.string()), "")


def _nullable(values: Array) -> pa.Array:
    """The values as an Arrow array, null where they are NaN."""
    return pa.array(values, from_pandas=True)
