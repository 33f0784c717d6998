"""Outcomes of impressions: true expectations per task, and labels drawn from them.

The outcomes form a chain. Most long views follow a click. Watch time agrees with long_view and the duration.
Most likes and comments follow a long view; most profile_enters follow a click. Clickbait raises the click
and lowers long_view after a click, watch time, like and comment.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from eventlog.kuairand.columns import IMMEDIATE_TASKS
from eventlog.simulator.impressions import HOUR_MS, Impressions
from eventlog.simulator.randomness import RandomStream, generator
from eventlog.simulator.state import WorldState
from eventlog.simulator.world import SURFACES

Array = Any

LONG_VIEW_SECONDS = 18.0
"""Shortest watch time of a long view. For a shorter video it is the video's duration, as in KuaiRand."""
MAX_WATCH_DURATIONS = 1.1
"""The longest watch time, as a multiple of the video's duration."""
LONG_VIEW_WITHOUT_CLICK = 0.005
"""Probability of long_view without a click."""
RARE_FACTOR = 0.15
"""Factor of the probability of like and comment without a long view, and of profile_enter without a click."""
SATISFACTION_BASE = 1.15
"""Logit of long_view after a click, before any effect of user, video and surface."""
LIKE_BASE = -3.75
PROFILE_BASE = -3.85
COMMENT_BASE = -5.75
"""The same for like after a long view, profile_enter after a click, and comment after a long view."""
SHORT_VIEW_MEANS = np.array([0.36, 0.62], dtype=np.float32)
"""`[2]` mean watch time of a short view, without and with a click, as a share of `shortest_long_view`."""
HOUR_EFFECT = (0.15 * np.sin(2 * np.pi * (np.arange(24) - 15) / 24)).astype(np.float32)
"""`[24]` logits that each hour of the day adds to the click."""
NUM_UNIFORMS = 6
"""Number of uniform random numbers from which the outcomes of an impression are drawn."""


@dataclass(frozen=True)
class Expectations:
    """True expectations of impressions; every array is `[rows]` float32.

    Attributes:
        click: probability.
        long_view_after_click: probability of long_view after a click.
        like_after_long_view: probability of like after a long view.
        profile_enter_after_click: probability of profile_enter after a click.
        comment_after_long_view: probability of comment after a long view.
        shortest_long_view: shortest watch time of a long view, log1p seconds.
        longest_watch: longest watch time, log1p seconds.
        long_view_share: mean watch time of a long view, from 0 (`shortest_long_view`) to 1 (`longest_watch`).
    """

    click: Array
    long_view_after_click: Array
    like_after_long_view: Array
    profile_enter_after_click: Array
    comment_after_long_view: Array
    shortest_long_view: Array
    longest_watch: Array
    long_view_share: Array

    def by_task(self) -> dict[str, Array]:
        """Per immediate task `[rows]` float32: probabilities, or means of log1p seconds for watch_time."""
        click = self.click
        long_view = click * self.long_view_after_click + (1 - click) * LONG_VIEW_WITHOUT_CLICK
        short_unclicked = (1 - click) * (1 - LONG_VIEW_WITHOUT_CLICK)
        short_clicked = click * (1 - self.long_view_after_click)
        short = short_unclicked * SHORT_VIEW_MEANS[0] + short_clicked * SHORT_VIEW_MEANS[1]
        long = self.shortest_long_view + self.long_view_share * (self.longest_watch - self.shortest_long_view)
        values = {
            "click": click,
            "long_view": long_view,
            "watch_time": short * self.shortest_long_view + long_view * long,
            "like": self.like_after_long_view * _mean_factor(long_view),
            "profile_enter": self.profile_enter_after_click * _mean_factor(click),
            "comment": self.comment_after_long_view * _mean_factor(long_view),
        }
        return {task: values[task] for task in IMMEDIATE_TASKS}


def true_expectations(state: WorldState, impressions: Impressions) -> Expectations:
    """The true expectations of impressions in the current span."""
    users, videos, world = state.users, state.videos, state.world
    user, video, surface = impressions.users, impressions.videos, impressions.surfaces
    click_base = np.array([entry.click_base for entry in SURFACES], dtype=np.float32)
    satisfaction_base = np.array([entry.satisfaction_base for entry in SURFACES], dtype=np.float32)
    match = _match(state, user, video)
    log_duration = np.log(videos.duration)
    sqrt_age = np.sqrt((state.span - videos.upload_span).astype(np.float32))
    first_tag = np.where(videos.tags[:, 0] >= 0, videos.tags[:, 0], 0)
    video_click_logit = (
        videos.appeal
        + world.clickbait_click * videos.clickbait
        + state.topic_trend[first_tag]
        - 0.06 * sqrt_age
    )
    video_satisfaction = videos.quality - world.clickbait_satisfaction * videos.clickbait
    click_logit = (
        (click_base + state.surface_trend[0])[surface]
        + _position_effect(world.position_decay)[impressions.positions]
        + HOUR_EFFECT[impressions.milliseconds // HOUR_MS]
        + users.click_level[user]
        + video_click_logit[video]
        + match
    )
    satisfaction_logit = (
        (satisfaction_base + state.surface_trend[1] + np.float32(SATISFACTION_BASE))[surface]
        + users.satisfaction_level[user]
        + (video_satisfaction - 0.2 * (log_duration - np.float32(4.2)))[video]
        + 0.6 * match
    )
    generosity = users.generosity_level[user]
    author_quality = state.authors.quality[videos.author]
    shortest_long_view = np.log1p(np.minimum(videos.duration, np.float32(LONG_VIEW_SECONDS)))
    return Expectations(
        click=_sigmoid(click_logit),
        long_view_after_click=_sigmoid(satisfaction_logit),
        like_after_long_view=_sigmoid(
            1.3 * generosity + (LIKE_BASE + video_satisfaction)[video] + 0.7 * match
        ),
        profile_enter_after_click=_sigmoid(1.3 * generosity + (PROFILE_BASE + 2 * author_quality)[video]),
        comment_after_long_view=_sigmoid(1.6 * generosity + (COMMENT_BASE + video_satisfaction)[video]),
        shortest_long_view=shortest_long_view[video],
        longest_watch=np.log1p(np.float32(MAX_WATCH_DURATIONS) * videos.duration)[video],
        long_view_share=_sigmoid(0.5 * satisfaction_logit),
    )


def logged_outcomes(state: WorldState, expectations: Expectations) -> dict[str, Array]:
    """Draws the outcomes that the log records for the current span; see `draw_outcomes`."""
    random = generator(state.seed, state.span, RandomStream.OUTCOMES)
    return draw_outcomes(
        expectations, random.random((NUM_UNIFORMS, len(expectations.click)), dtype=np.float32)
    )


def draw_outcomes(expectations: Expectations, uniforms: Array) -> dict[str, Array]:
    """Draws the outcomes of impressions.

    Args:
        expectations: the expectations of `[rows]` impressions.
        uniforms: `[NUM_UNIFORMS, rows]` float32 in [0, 1). They determine the outcomes.

    Returns:
        Per immediate task `[rows]` float32: 0 or 1, or log1p seconds for watch_time.
    """
    click = uniforms[0] < expectations.click
    long_view = uniforms[1] < np.where(
        click, expectations.long_view_after_click, np.float32(LONG_VIEW_WITHOUT_CLICK)
    )
    # For a uniform u, u ** (1 / mean - 1) has the mean `mean`, for any mean in (0, 1).
    mean = np.where(long_view, expectations.long_view_share, SHORT_VIEW_MEANS[click.astype(np.int8)])
    share = uniforms[2] ** (1 / mean - 1)
    low = np.where(long_view, expectations.shortest_long_view, np.float32(0))
    high = np.where(long_view, expectations.longest_watch, expectations.shortest_long_view)
    viewed_factor = np.where(long_view, np.float32(1), np.float32(RARE_FACTOR))
    clicked_factor = np.where(click, np.float32(1), np.float32(RARE_FACTOR))
    outcomes = {
        "click": click,
        "long_view": long_view,
        "watch_time": low + share * (high - low),
        "like": uniforms[3] < expectations.like_after_long_view * viewed_factor,
        "profile_enter": uniforms[4] < expectations.profile_enter_after_click * clicked_factor,
        "comment": uniforms[5] < expectations.comment_after_long_view * viewed_factor,
    }
    return {task: outcomes[task].astype(np.float32, copy=False) for task in IMMEDIATE_TASKS}


def move_to_positions(
    expectations: Expectations, rows: Array, positions: Array, decay: float
) -> Expectations:
    """Selects rows and moves their expectations from position 1 to other positions.

    Args:
        expectations: the expectations of impressions at position 1.
        rows: `[selected]` int64 indices into the impressions.
        positions: `[selected]` int64, 1 is the best position.
        decay: logits by which each doubling of the position lowers the click.
    """
    arrays = {field.name: getattr(expectations, field.name)[rows] for field in fields(expectations)}
    click = arrays["click"]
    inverse_odds_factor = np.exp(np.float32(decay) * np.log2(positions.astype(np.float32)))
    arrays["click"] = click / (click + (1 - click) * inverse_odds_factor)
    return Expectations(**arrays)


def _match(state: WorldState, user: Array, video: Array) -> Array:
    """`[rows]` float32 logits: match between the video's topic and the user's current taste."""
    taste = state.users.taste + state.passing_taste
    return np.einsum("rt,rt->r", taste[user], state.videos.topic_vector[video])


def _position_effect(decay: float) -> Array:
    """`[1 + slots]` float32: logits that each position adds to the click; index 0 is unused."""
    positions = np.maximum(np.arange(1 + max(surface.slots for surface in SURFACES)), 1)
    return (-decay * np.log2(positions)).astype(np.float32)


def _mean_factor(probability: Array) -> Array:
    """Mean of a factor that is 1 with the given probability, else RARE_FACTOR."""
    return RARE_FACTOR + (1 - RARE_FACTOR) * probability


def _sigmoid(logit: Array) -> Array:
    return 1 / (1 + np.exp(-logit))
