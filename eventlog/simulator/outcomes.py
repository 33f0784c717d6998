"""Outcomes of impressions: true expectations per task, and labels drawn from them.

The outcomes form a chain. Most long views follow a click. Watch time agrees with long_view and the duration.
Most likes and comments follow a long view; most profile_enters follow a click. Clickbait raises the click and
lowers all later outcomes, so engagement and satisfaction disagree there.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from eventlog.rows import IMMEDIATE_TASKS
from eventlog.simulator.impressions import HOUR_MS, Impressions
from eventlog.simulator.randomness import RandomStream, generator
from eventlog.simulator.state import WorldState
from eventlog.simulator.world import SURFACES

Array = Any

LONG_VIEW_SECONDS = 18.0
"""Shortest watch time of a long view; for a shorter video its duration, as in KuaiRand."""
MAX_WATCH_DURATIONS = 1.1
"""The longest watch time, in durations of the video."""
LONG_VIEW_UNCLICKED = 0.005
"""Probability of long_view without a click."""
RARE_FACTOR = 0.15
"""Factor on the probability of like and comment without a long view, and of profile_enter without a click."""
SATISFACTION_BASE = 1.15
LIKE_BASE = -3.75
PROFILE_BASE = -3.85
COMMENT_BASE = -5.75
SHORT_WATCH_MEAN = np.array([0.36, 0.62], dtype=np.float32)
"""Mean watch time of a short view, as a share of the threshold in log1p seconds: without and with a click."""
HOUR_EFFECT = (0.15 * np.sin(2 * np.pi * (np.arange(24) - 15) / 24)).astype(np.float32)
"""`[24]` logits that the hour adds to the click."""
NUM_UNIFORMS = 6
"""Number of uniform random numbers per impression."""


@dataclass(frozen=True)
class Expectations:
    """True expectations of impressions; every array is `[rows]` float32.

    Attributes:
        click: probability.
        long_view_clicked: probability of long_view after a click.
        like_viewed: probability of like after a long view.
        profile_enter_clicked: probability of profile_enter after a click.
        comment_viewed: probability of comment after a long view.
        threshold: shortest watch time of a long view, log1p seconds.
        longest: longest watch time, log1p seconds.
        long_watch: mean position of a long view's watch time between `threshold` (0) and `longest` (1).
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
            "like": self.like_viewed * _mean_factor(long_view),
            "profile_enter": self.profile_enter_clicked * _mean_factor(click),
            "comment": self.comment_viewed * _mean_factor(long_view),
        }
        return {task: values[task] for task in IMMEDIATE_TASKS}


def true_expectations(state: WorldState, impressions: Impressions) -> Expectations:
    """The expectations of impressions in the current span."""
    users, videos, world = state.users, state.videos, state.world
    user, video, surface = impressions.users, impressions.videos, impressions.surfaces
    click_base = np.array([surface.click_base for surface in SURFACES], dtype=np.float32)
    satisfaction_base = np.array([surface.satisfaction_base for surface in SURFACES], dtype=np.float32)
    match = _match(state, user, video)
    bait = videos.clickbait
    log_duration = np.log(videos.duration)
    age = np.sqrt((state.span - videos.born).astype(np.float32))
    first_tag = np.where(videos.tags[:, 0] >= 0, videos.tags[:, 0], 0)
    attraction = videos.appeal + world.clickbait_click * bait + state.topic_trend[first_tag] - 0.06 * age
    merit = videos.quality - world.clickbait_satisfaction * bait
    click = (
        (click_base + state.surface_trend[0])[surface]
        + _position_effect(world.position_decay)[impressions.positions]
        + HOUR_EFFECT[impressions.milliseconds // HOUR_MS]
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
        longest=np.log1p(np.float32(MAX_WATCH_DURATIONS) * videos.duration)[video],
        long_watch=_sigmoid(0.5 * satisfaction),
    )


def logged_outcomes(state: WorldState, expectations: Expectations) -> dict[str, Array]:
    """The outcomes of the current span's impressions in the log; see `draw_outcomes`."""
    random = generator(state.seed, state.span, RandomStream.OUTCOMES)
    return draw_outcomes(
        expectations, random.random((NUM_UNIFORMS, len(expectations.click)), dtype=np.float32)
    )


def draw_outcomes(expectations: Expectations, uniforms: Array) -> dict[str, Array]:
    """Draws the outcomes of impressions.

    Args:
        expectations: the expectations of `[rows]` impressions.
        uniforms: `[NUM_UNIFORMS, rows]` float32 in [0, 1). With equal numbers two policies differ only by the
            videos that they show.

    Returns:
        Per immediate task `[rows]` float32: 0 or 1, or log1p seconds for watch_time.
    """
    click = uniforms[0] < expectations.click
    long_view = uniforms[1] < np.where(click, expectations.long_view_clicked, np.float32(LONG_VIEW_UNCLICKED))
    # For a uniform u, u ** (1 / mean - 1) has the mean `mean`, for any mean in (0, 1).
    mean = np.where(long_view, expectations.long_watch, SHORT_WATCH_MEAN[click.astype(np.int8)])
    share = uniforms[2] ** (1 / mean - 1)
    low = np.where(long_view, expectations.threshold, np.float32(0))
    high = np.where(long_view, expectations.longest, expectations.threshold)
    viewed_factor = np.where(long_view, np.float32(1), np.float32(RARE_FACTOR))
    clicked_factor = np.where(click, np.float32(1), np.float32(RARE_FACTOR))
    outcomes = {
        "click": click,
        "long_view": long_view,
        "watch_time": low + share * (high - low),
        "like": uniforms[3] < expectations.like_viewed * viewed_factor,
        "profile_enter": uniforms[4] < expectations.profile_enter_clicked * clicked_factor,
        "comment": uniforms[5] < expectations.comment_viewed * viewed_factor,
    }
    return {task: outcomes[task].astype(np.float32, copy=False) for task in IMMEDIATE_TASKS}


def at_positions(expectations: Expectations, rows: Array, positions: Array, decay: float) -> Expectations:
    """Moves expectations from position 1 to other positions.

    Args:
        expectations: the expectations of impressions at position 1.
        rows: `[n]` int64 indices of the impressions to select.
        positions: `[n]` int64, 1 is the best position.
        decay: logits that each doubling of the position takes from the click.
    """
    arrays = {field.name: getattr(expectations, field.name)[rows] for field in fields(expectations)}
    click = arrays["click"]
    inverse_odds_factor = np.exp(np.float32(decay) * np.log2(positions.astype(np.float32)))
    arrays["click"] = click / (click + (1 - click) * inverse_odds_factor)
    return Expectations(**arrays)


def _match(state: WorldState, user: Array, video: Array) -> Array:
    """`[rows]` float32 logits: match between each video's topic and its user's current taste."""
    taste = state.users.taste + state.passing_taste
    return np.einsum("rt,rt->r", taste[user], state.videos.topic[video])


def _position_effect(decay: float) -> Array:
    """`[1 + slots]` float32: logits that each position adds to the click; index 0 is unused."""
    positions = np.maximum(np.arange(1 + max(surface.slots for surface in SURFACES)), 1)
    return (-decay * np.log2(positions)).astype(np.float32)


def _mean_factor(probability: Array) -> Array:
    """Mean of 1 with `probability` and RARE_FACTOR otherwise."""
    return RARE_FACTOR + (1 - RARE_FACTOR) * probability


def _sigmoid(logit: Array) -> Array:
    return 1 / (1 + np.exp(-logit))
