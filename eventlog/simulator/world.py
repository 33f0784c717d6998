"""Parameters of the simulated world and its surfaces, with their units."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True, kw_only=True)
class World:
    """Parameters of the simulated world. One span is one day.

    Standard deviations are in logits of the affected probability unless stated otherwise. A persistence is
    the share of a random walk's value that remains after one span. With 1 the value never changes; with 0
    every span draws a new value.

    Raises:
        ValueError: if a parameter is negative or not a number, or a persistence is above 1. Also if one of
            the first three parameters is 0, or another parameter is infinite.

    Attributes:
        impressions_per_user: fresh rows per span, divided by the number of users in span 0.
        impressions_per_video: fresh rows per span, divided by the videos in span 0.
        videos_per_author: number of videos, divided by the number of authors.
        new_users: users that arrive in each span, as a share of the users in span 0.
        new_videos: the same for videos. New authors arrive with new videos.
        user_spread: standard deviation of each of a user's levels; see `Users`.
        video_spread: standard deviation of a video's own part of its appeal and of its quality; the part of
            its author has half this deviation. See `Videos`.
        taste_strength: standard deviation of the match between a user's taste and a video's topic.
        trait_noise: standard deviation of the noise in the traits that reveal a user's levels, in multiples
            of `user_spread`.
        clickbait_authors: share of the authors that publish mostly clickbait.
        clickbait_click: logits that clickbait adds to the click.
        clickbait_satisfaction: logits that clickbait takes from long_view after a click, like and comment.
        position_decay: logits that each doubling of the position takes from the click.
        taste_drift: standard deviation of a user's passing taste, in multiples of that of the lasting taste.
        taste_persistence: persistence of the passing taste.
        base_drift: standard deviation of the random walks of the base rates of surfaces and topics.
        base_persistence: persistence of these random walks.
        activity_spread: standard deviation of `Users.log_activity`.
        activity_noise: standard deviation of the noise that each span adds to `Users.log_activity`. It makes
            LTV noisy and heavy-tailed.
        logging_noise: standard deviation of the random error in the logarithm of each logged LTV.
        logging_bias: standard deviation, over cells, of the bias in the logarithm of the logged LTV. A cell
            is a pair of the user's first trait and the video's first tag. The bias does not depend on
            behaviour. A model with crossed features fits the bias, and is wrong some spans later.
        logging_bias_persistence: persistence of a cell's bias.
    """

    impressions_per_user: float = 1.0
    impressions_per_video: float = 5.0
    videos_per_author: float = 3.0
    new_users: float = 0.03
    new_videos: float = 0.05
    user_spread: float = 0.75
    video_spread: float = 0.6
    taste_strength: float = 0.7
    trait_noise: float = 1.0
    clickbait_authors: float = 0.15
    clickbait_click: float = 1.2
    clickbait_satisfaction: float = 1.6
    position_decay: float = 0.2
    taste_drift: float = 0.6
    taste_persistence: float = 0.9
    base_drift: float = 0.2
    base_persistence: float = 0.9
    activity_spread: float = 1.0
    activity_noise: float = 0.9
    logging_noise: float = 0.3
    logging_bias: float = 0.5
    logging_bias_persistence: float = 0.8

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_persistence") and not 0 <= value <= 1:
                raise ValueError(f"{field.name} must be in [0, 1], got {value}.")
            if field.name in ("impressions_per_user", "impressions_per_video", "videos_per_author"):
                if not value > 0:
                    raise ValueError(f"{field.name} must be above 0, got {value}.")
            elif not np.isfinite(value) or value < 0:
                raise ValueError(f"{field.name} must be a number >= 0, got {value}.")


@dataclass(frozen=True, kw_only=True)
class Surface:
    """One surface of the simulated app.

    Attributes:
        name: the value of the column `surface`.
        share: the surface's share of all impressions.
        slots: number of positions; each position has equally many impressions.
        click_base: part of the click logit that is equal for all impressions on the surface.
        satisfaction_base: logits that the surface adds to long_view after a click.
        popularity: exponent of a video's popularity in its chance of being shown; 0 ignores popularity.
        decay_spans: number of spans in which a video's chance of being shown falls to 1/e.
    """

    name: str
    share: float
    slots: int
    click_base: float
    satisfaction_base: float
    popularity: float
    decay_spans: float


SURFACES = (
    Surface(name="tab_1", share=0.70, slots=6,
            click_base=0.15, satisfaction_base=0.1, popularity=1.0, decay_spans=20),
    Surface(name="tab_0", share=0.15, slots=20,
            click_base=-1.9, satisfaction_base=-0.6, popularity=1.2, decay_spans=8),
    Surface(name="tab_4", share=0.10, slots=4,
            click_base=0.6, satisfaction_base=0.4, popularity=0.6, decay_spans=40),
    Surface(name="tab_6", share=0.05, slots=12,
            click_base=-1.2, satisfaction_base=-0.2, popularity=0.3, decay_spans=60),
)  # fmt: skip

NUM_TOPICS = 40
TASTE_SIZE = 8
"""Number of entries of the vector of a taste or topic."""
UPLOAD_TYPES = ("LongImport", "ShortImport", "LongCamera", "ShortCamera", "PhotoCopy", "Kmovie")
ACTIVE_DEGREES = ("full_active", "high_active", "middle_active", "low_active", "UNKNOWN")
VALUES_PER_TRAIT = (8, 12, 5, 5, 5, 50)
"""Number of values of each user trait. Trait 0 affects only the logging bias, and trait 5 affects nothing."""
