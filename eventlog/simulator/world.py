"""Parameters of the simulated world and its surfaces, with their units."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True, kw_only=True)
class World:
    """Parameters of the simulated world. One span is one day.

    Standard deviations of effects are in logits of the affected probability. A persistence is the share of a
    deviation that remains after one span: 1 never changes, 0 is a new draw in every span.

    Raises:
        ValueError: if a parameter is negative or not finite, a persistence is above 1, or a size is not
            above 0.

    Attributes:
        impressions_per_user: mean fresh rows per span and user of the first span; sets the number of users.
        impressions_per_video: the same for videos.
        videos_per_author: mean number of videos per author.
        new_users: users that arrive in each span, as a share of the users of the first span.
        new_videos: the same for videos; authors arrive with them.
        user_spread: standard deviation of users' click and satisfaction levels.
        video_spread: standard deviation of videos' appeal and quality.
        taste_strength: standard deviation of the match between a user's taste and a video's topic.
        trait_noise: noise of the traits that reveal a user's latent levels, in standard deviations of them.
        clickbait_authors: share of authors most of whose videos are clickbait.
        clickbait_click: logits that clickbait adds to the click.
        clickbait_satisfaction: logits that clickbait takes from long_view after a click, and from like.
        position_decay: logits that each doubling of the position takes from the click.
        taste_drift: standard deviation of a user's passing taste, relative to the lasting taste.
        taste_persistence: persistence of the passing taste.
        base_drift: standard deviation of the random walks of the base rates of surfaces and topics.
        base_persistence: persistence of these random walks.
        activity_spread: standard deviation of log activity between users.
        activity_noise: standard deviation of a user's log activity between spans; it makes LTV noisy and
            heavy-tailed.
        logging_noise: standard deviation of the log error of each logged LTV.
        logging_bias: standard deviation between cells of the log factor on a cell's logged LTV. A cell is a
            pair of the user's first trait and the video's first tag. The factor does not depend on
            behaviour. A model that crosses features fits it, and is wrong some spans later.
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
    """A part of the app where videos are shown.

    Attributes:
        name: the value of the column `surface`.
        share: the surface's share of all impressions.
        slots: positions 1 to `slots`, all shown equally often.
        click_base: click logit at position 1.
        satisfaction_base: logits that the surface adds to long_view after a click.
        popularity: exponent of a video's popularity in its chance of being shown; 0 ignores popularity.
        decay_spans: spans after which a video is shown 1/e as often.
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

TOPICS = 40
TASTES = 8
"""Dimensions of tastes and topics."""
UPLOAD_TYPES = ("LongImport", "ShortImport", "LongCamera", "ShortCamera", "PhotoCopy", "Kmovie")
ACTIVE_DEGREES = ("full_active", "high_active", "middle_active", "low_active", "UNKNOWN")
TRAIT_VALUES = (8, 12, 5, 5, 5, 50)
"""Number of values of each user trait. Trait 0 matters only for the logging bias, trait 5 for nothing."""
