"""What follows an impression: expectations that are known in truth, and outcomes drawn from them.

A chain: click, then long_view mostly of what was clicked, then watch time in agreement with long_view
and the duration, then like and comment mostly of what was viewed, profile_enter of what was clicked.
Clickbait raises the click and lowers all that comes after it: engagement and satisfaction disagree there.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from eventlog.rows import IMMEDIATE_TASKS
from eventlog.simulator.impressions import HOUR_MS, Impressions
from eventlog.simulator.state import WorldState
from eventlog.simulator.world import SURFACES

Array = Any

LONG_VIEW_SECONDS = 18.0
"""A long view lasts so long, or to the end of a shorter video, as in KuaiRand."""
REPLAY = 1.1
"""The longest watch time, in durations of the video."""
LONG_VIEW_UNCLICKED = 0.005
AFTERTHOUGHT = 0.15
"""Like, profile_enter and comment are so much rarer where the view (or click) they follow did not happen."""
SATISFACTION_BASE = 1.15
LIKE_BASE = -3.75
PROFILE_BASE = -3.85
COMMENT_BASE = -5.75
SHORT_WATCH_MEAN = np.array([0.36, 0.62], dtype=np.float32)
"""Mean share of the long view's threshold, in log1p seconds, reached without a long view: no click, click."""
HOUR_EFFECT = (0.15 * np.sin(2 * np.pi * (np.arange(24) - 15) / 24)).astype(np.float32)
"""What the hour adds to the click's logit."""
DRAWS = 6
"""Uniform numbers that the outcome of one impression takes."""


@dataclass(frozen=True)
class Expectations:
    """The truth about impressions; every array is `[rows]` float32.

    Attributes:
        click: probability.
        long_view_clicked: probability of long_view after a click.
        like_viewed: probability of like after a long view.
        profile_enter_clicked: probability of profile_enter after a click.
        comment_viewed: probability of comment after a long view.
        threshold: log1p seconds from which on a view is long.
        longest: log1p of the longest watch seconds.
        long_watch: mean place of a long view's watch time between `threshold` (0) and `longest` (1).
    """

    click: Array
    long_view_clicked: Array
    like_viewed: Array
    profile_enter_clicked: Array
    comment_viewed: Array
    threshold: Array
    longest: Array
    long_watch: Array

    def by_task(self) -> dict[str, Array]:
        """Per immediate task `[rows]` float32: its probability, or mean log1p seconds for watch_time."""
        click = self.click
        long_view = click * self.long_view_clicked + (1 - click) * LONG_VIEW_UNCLICKED
        short_unclicked = (1 - click) * (1 - LONG_VIEW_UNCLICKED)
        short_clicked = click * (1 - self.long_view_clicked)
        short = short_unclicked * SHORT_WATCH_MEAN[0] + short_clicked * SHORT_WATCH_MEAN[1]
        long = self.threshold + self.long_watch * (self.longest - self.threshold)
        values = {
            "click": click,
            "long_view": long_view,
            "watch_time": short * self.threshold + long_view * long,
            "like": self.like_viewed * _share_after(long_view),
            "profile_enter": self.profile_enter_clicked * _share_after(click),
            "comment": self.comment_viewed * _share_after(long_view),
        }
        return {task: values[task] for task in IMMEDIATE_TASKS}


def expect(state: WorldState, shown: Impressions) -> Expectations:
    """The truth about impressions in the world as it stands."""
    users, videos, world = state.users, state.videos, state.world
    user, video, surface = shown.users, shown.videos, shown.surfaces
    click_base = np.array([place.click_base for place in SURFACES], dtype=np.float32)
    satisfaction_base = np.array([place.satisfaction_base for place in SURFACES], dtype=np.float32)
    match = _match(state, user, video)
    bait = videos.clickbait
    log_duration = np.log(videos.duration)
    age = np.sqrt((state.span - videos.born).astype(np.float32))
    first_tag = np.where(videos.tags[:, 0] >= 0, videos.tags[:, 0], 0)
    attraction = videos.appeal + world.clickbait_click * bait + state.topic_trend[first_tag] - 0.06 * age
    merit = videos.quality - world.clickbait_satisfaction * bait
    click = (
        (click_base + state.surface_trend[0])[surface]
        + _examination(world.position_decay)[shown.positions]
        + HOUR_EFFECT[shown.milliseconds // HOUR_MS]
        + users.click[user]
        + attraction[video]
        + match
    )
    satisfaction = (
        (satisfaction_base + state.surface_trend[1] + np.float32(SATISFACTION_BASE))[surface]
        + users.satisfaction[user]
        + (merit - 0.2 * (log_duration - np.float32(4.2)))[video]
        + 0.6 * match
    )
    generosity = users.generosity[user]
    author = state.authors.quality[videos.author]
    threshold = np.log1p(np.minimum(videos.duration, np.float32(LONG_VIEW_SECONDS)))
    return Expectations(
        click=_sigmoid(click),
        long_view_clicked=_sigmoid(satisfaction),
        like_viewed=_sigmoid(1.3 * generosity + (LIKE_BASE + merit)[video] + 0.7 * match),
        profile_enter_clicked=_sigmoid(1.3 * generosity + (PROFILE_BASE + 2 * author)[video]),
        comment_viewed=_sigmoid(1.6 * generosity + (COMMENT_BASE + merit)[video]),
        threshold=threshold[video],
        longest=np.log1p(np.float32(REPLAY) * videos.duration)[video],
        long_watch=_sigmoid(0.5 * satisfaction),
    )


def draw_outcomes(truth: Expectations, uniforms: Array) -> dict[str, Array]:
    """What happens.

    Args:
        truth: of `[rows]` impressions.
        uniforms: `[DRAWS, rows]` float32 in [0, 1). Two policies compared on the same numbers differ by
            their choices alone.

    Returns:
        Per immediate task `[rows]` float32: 0 or 1, or log1p seconds for watch_time.
    """
    click = uniforms[0] < truth.click
    long_view = uniforms[1] < np.where(click, truth.long_view_clicked, np.float32(LONG_VIEW_UNCLICKED))
    # A power of a uniform number has any mean in (0, 1): u ** (1 / mean - 1) has mean `mean`.
    mean = np.where(long_view, truth.long_watch, SHORT_WATCH_MEAN[click.astype(np.int8)])
    share = uniforms[2] ** (1 / mean - 1)
    low = np.where(long_view, truth.threshold, np.float32(0))
    high = np.where(long_view, truth.longest, truth.threshold)
    viewed = np.where(long_view, np.float32(1), np.float32(AFTERTHOUGHT))
    clicked = np.where(click, np.float32(1), np.float32(AFTERTHOUGHT))
    outcomes = {
        "click": click,
        "long_view": long_view,
        "watch_time": low + share * (high - low),
        "like": uniforms[3] < truth.like_viewed * viewed,
        "profile_enter": uniforms[4] < truth.profile_enter_clicked * clicked,
        "comment": uniforms[5] < truth.comment_viewed * viewed,
    }
    return {task: outcomes[task].astype(np.float32, copy=False) for task in IMMEDIATE_TASKS}


def examined(truth: Expectations, shown: Array, positions: Array, decay: float) -> Expectations:
    """The truth about candidates of the first place, were they shown in other places.

    Args:
        truth: of candidates.
        shown: `[rows]` int64 indices of those that are shown.
        positions: `[rows]` int64, 1 is the best place.
        decay: what each doubling of the position takes from the click's logit.
    """
    chosen = {field.name: getattr(truth, field.name)[shown] for field in fields(truth)}
    click = chosen["click"]
    worse = np.exp(np.float32(decay) * np.log2(positions.astype(np.float32)))
    chosen["click"] = click / (click + (1 - click) * worse)
    return Expectations(**chosen)


def _match(state: WorldState, user: Array, video: Array) -> Array:
    """`[rows]` float32 logits: how well each video's topic meets its user's taste of the day."""
    taste = state.users.taste + state.passing_taste
    return np.einsum("rt,rt->r", taste[user], state.videos.topic[video])


def _examination(decay: float) -> Array:
    """`[1 + slots]` float32: what each position takes from the click's logit; index 0 is no position."""
    positions = np.maximum(np.arange(1 + max(surface.slots for surface in SURFACES)), 1)
    return (-decay * np.log2(positions)).astype(np.float32)


def _share_after(probability: Array) -> Array:
    return AFTERTHOUGHT + (1 - AFTERTHOUGHT) * probability


def _sigmoid(logit: Array) -> Array:
    return 1 / (1 + np.exp(-logit))
