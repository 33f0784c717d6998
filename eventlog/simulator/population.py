"""Draws the users, videos and authors of the simulated world: their hidden effects and logged attributes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np

from eventlog.simulator.randomness import normal
from eventlog.simulator.world import NUM_TOPICS, TASTE_SIZE, VALUES_PER_TRAIT, World

Array = Any
Entities = TypeVar("Entities")

NUM_USER_GROUPS = VALUES_PER_TRAIT[1]
"""Trait 1 of a user is the number of the user's group."""
MAX_TAGS = 3
"""Largest number of tags of a video."""


@dataclass(frozen=True)
class TasteSpace:
    """Vectors of topics and of group tastes. The vectors of a world never change.

    Attributes:
        topic_vectors: `[NUM_TOPICS, TASTE_SIZE]` float32.
        group_tastes: `[NUM_USER_GROUPS, TASTE_SIZE]` float32. The taste of a user is 0.6 times the taste
            of the user's group plus 0.8 times a taste of the user's own.
    """

    topic_vectors: Array
    group_tastes: Array

    @classmethod
    def draw(cls, random: np.random.Generator) -> TasteSpace:
        """Draws new vectors."""
        return cls(
            topic_vectors=normal(random, (NUM_TOPICS, TASTE_SIZE)),
            group_tastes=normal(random, (NUM_USER_GROUPS, TASTE_SIZE)),
        )


@dataclass(frozen=True)
class Users:
    """Users by index; every array is `[users]` float32 unless stated otherwise.

    A level raises or lowers a logit in all rows of a user or a video.

    Attributes:
        taste: `[users, TASTE_SIZE]`, the lasting taste.
        click_level: the user's level in the click logit.
        satisfaction_level: the user's level in the logit of long_view after a click.
        generosity_level: the user's level in the logits of like, profile_enter and comment.
        log_activity: logarithm of the user's activity weight. Weights are relative: their sum is not 1.
        arrival_span: int64, the user's first span.
        register_days: days between registration and `arrival_span`; NaN where missing in the log.
        followed: how many users this user follows; NaN where missing in the log.
        fans: how many users follow this user; NaN where missing in the log.
        friends: how many friends this user has; NaN where missing in the log.
        active_degree: int32 indices into ACTIVE_DEGREES.
        traits: `[users, traits]` int32 values, -1 where missing in the log.
    """

    taste: Array
    click_level: Array
    satisfaction_level: Array
    generosity_level: Array
    log_activity: Array
    arrival_span: Array
    register_days: Array
    followed: Array
    fans: Array
    friends: Array
    active_degree: Array
    traits: Array

    def __len__(self) -> int:
        return len(self.log_activity)


@dataclass(frozen=True)
class Authors:
    """Authors by index.

    Attributes:
        quality: `[authors]` float32, the author's part of the appeal and quality of the author's videos.
        mostly_clickbait: `[authors]` bool, whether most of the author's videos are clickbait.
        usual_topic: `[authors]` int64, the main topic of most of the author's videos.
    """

    quality: Array
    mostly_clickbait: Array
    usual_topic: Array

    def __len__(self) -> int:
        return len(self.quality)


@dataclass(frozen=True)
class Videos:
    """Videos by index; every array is `[videos]` float32 unless stated otherwise.

    Attributes:
        author: int64 indices into the authors.
        topic_vector: `[videos, TASTE_SIZE]`, the video's vector in the taste space.
        tags: `[videos, MAX_TAGS]` int64 indices of topics, the main topic first; -1 after the last tag.
        appeal: the video's level in the click logit, without the effect of clickbait.
        quality: the video's level in the logit of long_view after a click, without the effect of clickbait.
        clickbait: 1 or 0.
        log_popularity: logarithm of the relative frequency with which a new video is shown, on a surface
            whose exponent `Surface.popularity` is 1.
        duration: seconds.
        duration_known: bool, whether the log has the duration.
        upload_type: int32 indices into UPLOAD_TYPES.
        upload_span: int64, negative if the upload was before the log.
    """

    author: Array
    topic_vector: Array
    tags: Array
    appeal: Array
    quality: Array
    clickbait: Array
    log_popularity: Array
    duration: Array
    duration_known: Array
    upload_type: Array
    upload_span: Array

    def __len__(self) -> int:
        return len(self.appeal)


def concatenate(first: Entities, second: Entities) -> Entities:
    """Returns the entities of `first`, then those of `second`."""
    arrays = {
        field.name: np.concatenate([getattr(first, field.name), getattr(second, field.name)])
        for field in fields(first)  # type: ignore[arg-type]
    }
    return type(first)(**arrays)


def draw_users(
    num_users: int, span: int, space: TasteSpace, world: World, random: np.random.Generator
) -> Users:
    """Draws the users that arrive in `span`. Users of span 0 registered up to four years earlier."""
    group = random.integers(0, NUM_USER_GROUPS, num_users)
    own_taste = normal(random, (num_users, TASTE_SIZE))
    taste = (0.6 * space.group_tastes[group] + 0.8 * own_taste).astype(np.float32)
    levels = normal(random, (3, num_users)) * np.float32(world.user_spread)
    log_activity = normal(random, num_users) * np.float32(world.activity_spread)
    days = random.integers(0, 1500 if span == 0 else 3, num_users).astype(np.float32)
    unknown = random.random(num_users) < 0.03
    standard_activity = log_activity / np.float32(max(world.activity_spread, 1e-6))
    noisy_activity = standard_activity + 0.5 * normal(random, num_users)
    counts = np.floor(
        np.exp(normal(random, (3, num_users)) + np.array([[3.5], [2.5], [1.5]]) + 0.5 * noisy_activity)
    ).astype(np.float32)
    counts[:, unknown] = np.nan
    return Users(
        taste=taste,
        click_level=levels[0],
        satisfaction_level=levels[1],
        generosity_level=levels[2],
        log_activity=log_activity,
        arrival_span=np.full(num_users, span),
        register_days=np.where(unknown, np.nan, days).astype(np.float32),
        followed=counts[0],
        fans=counts[1],
        friends=counts[2],
        active_degree=np.where(unknown, 4, np.digitize(-noisy_activity, [-0.8, 0.0, 0.8])).astype(np.int32),
        traits=_draw_traits(group, levels, world, random),
    )


def _draw_traits(group: Array, levels: Array, world: World, random: np.random.Generator) -> Array:
    """`[users, traits]` int32: trait 1 is the group, traits 2 to 4 reveal the levels with noise."""
    num_users = len(group)
    traits = np.empty((num_users, len(VALUES_PER_TRAIT)), dtype=np.int32)
    traits[:, 0] = random.integers(0, VALUES_PER_TRAIT[0], num_users)
    traits[:, 1] = group
    for trait, level in enumerate(levels, start=2):
        noisy_level = level / max(world.user_spread, 1e-6) + world.trait_noise * normal(random, num_users)
        traits[:, trait] = np.digitize(noisy_level, [-1.2, -0.4, 0.4, 1.2])
    traits[:, 5] = random.integers(0, VALUES_PER_TRAIT[5], num_users)
    traits[random.random(num_users) < 0.05, 5] = -1
    return traits


def draw_authors(num_authors: int, world: World, random: np.random.Generator) -> Authors:
    """Draws new authors."""
    return Authors(
        quality=normal(random, num_authors) * np.float32(0.5 * world.video_spread),
        mostly_clickbait=random.random(num_authors) < world.clickbait_authors,
        usual_topic=random.integers(0, NUM_TOPICS, num_authors),
    )


def draw_videos(
    num_videos: int, span: int, authors: Authors, space: TasteSpace, world: World, random: np.random.Generator
) -> Videos:
    """Draws videos of any of the authors, uploaded in `span`. Videos of span 0 are up to two months old."""
    author = random.integers(0, len(authors), num_videos)
    is_usual = random.random(num_videos) < 0.7
    main_topic = np.where(is_usual, authors.usual_topic[author], random.integers(0, NUM_TOPICS, num_videos))
    tags = np.stack([main_topic, *random.integers(0, NUM_TOPICS, (MAX_TAGS - 1, num_videos))], axis=1)
    num_tags = random.choice(MAX_TAGS + 1, p=[0.01, 0.6, 0.3, 0.09], size=num_videos)
    tags[np.arange(MAX_TAGS) >= num_tags[:, None]] = -1
    # The entries of taste and topic vectors have variance 1, so their dot product has variance TASTE_SIZE.
    scale = np.float32(world.taste_strength / np.sqrt(TASTE_SIZE))
    topic_vector = scale * (
        0.8 * space.topic_vectors[main_topic] + 0.6 * normal(random, (num_videos, TASTE_SIZE))
    )
    clickbait = random.random(num_videos) < np.where(authors.mostly_clickbait[author], 0.8, 0.03)
    duration = np.clip(np.exp(4.2 + 1.0 * normal(random, num_videos)), 3, 1200).astype(np.float32)
    upload_type = np.where(duration > 60, 0, 1) + 2 * random.integers(0, 2, num_videos)
    upload_type = np.where(random.random(num_videos) < 0.1, 5, upload_type)
    upload_type = np.where(random.random(num_videos) < np.where(clickbait, 0.4, 0.08), 4, upload_type)
    levels = normal(random, (2, num_videos)) * np.float32(world.video_spread)
    return Videos(
        author=author,
        topic_vector=topic_vector.astype(np.float32),
        tags=tags,
        appeal=levels[0] + authors.quality[author],
        quality=levels[1] + authors.quality[author],
        clickbait=clickbait.astype(np.float32),
        log_popularity=1.2 * normal(random, num_videos),
        duration=duration,
        duration_known=random.random(num_videos) >= 0.016,
        upload_type=upload_type.astype(np.int32),
        upload_span=span
        - (random.integers(0, 60, num_videos) if span == 0 else np.zeros(num_videos, dtype=np.int64)),
    )
