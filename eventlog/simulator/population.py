"""Draws the users, videos and authors of the simulated world: latent effects and logged attributes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np

from eventlog.simulator.randomness import normal
from eventlog.simulator.world import TASTES, TOPICS, TRAIT_VALUES, World

Array = Any
Entities = TypeVar("Entities")

NUM_GROUPS = TRAIT_VALUES[1]
MAX_TAGS = 3


@dataclass(frozen=True)
class TasteSpace:
    """Vectors of topics and of mean tastes; they never change within a world.

    Attributes:
        topics: `[TOPICS, TASTES]` float32.
        groups: `[NUM_GROUPS, TASTES]` float32, mean taste of each group of users.
    """

    topics: Array
    groups: Array

    @classmethod
    def draw(cls, random: np.random.Generator) -> TasteSpace:
        """Draws new vectors."""
        return cls(topics=normal(random, (TOPICS, TASTES)), groups=normal(random, (NUM_GROUPS, TASTES)))


@dataclass(frozen=True)
class Users:
    """Users by index; every array is `[users]` float32 unless stated otherwise.

    A level is the user's summand in a logit.

    Attributes:
        taste: `[users, TASTES]`, the lasting taste.
        click: the user's level in the click's logit.
        satisfaction: the user's level in long_view's logit after a click.
        generosity: the user's level in the logits of like, profile_enter and comment.
        log_activity: log of the user's relative frequency in an average span.
        arrival: int64, the user's first span.
        register_days: days since registration in the first span; NaN where missing in the log.
        followed, fans, friends: counts; NaN where missing in the log.
        active_degree: int32 into ACTIVE_DEGREES.
        traits: `[users, traits]` int32 values, -1 where missing in the log.
    """

    taste: Array
    click: Array
    satisfaction: Array
    generosity: Array
    log_activity: Array
    arrival: Array
    register_days: Array
    followed: Array
    fans: Array
    friends: Array
    active_degree: Array
    traits: Array

    def __len__(self) -> int:
        return len(self.click)


@dataclass(frozen=True)
class Authors:
    """Authors by index.

    Attributes:
        quality: `[authors]` float32, shared by an author's videos.
        clickbait: `[authors]` bool, whether most of the author's videos are clickbait.
        topic: `[authors]` int64, the topic of most of the author's videos.
    """

    quality: Array
    clickbait: Array
    topic: Array

    def __len__(self) -> int:
        return len(self.quality)


@dataclass(frozen=True)
class Videos:
    """Videos by index; every array is `[videos]` float32 unless stated otherwise.

    Attributes:
        author: int64.
        topic: `[videos, TASTES]`, the video's vector in the taste space.
        tags: `[videos, MAX_TAGS]` int64, numbers of topics, the main topic first; -1 where there are fewer.
        appeal: the video's level in the click's logit, without clickbait.
        quality: the video's level in long_view's logit after a click, without clickbait.
        clickbait: 1 or 0.
        log_popularity: log of the relative frequency of being shown when new, if a surface's popularity is 1.
        duration: seconds.
        duration_known: bool, whether the log holds the duration.
        upload_type: int32 into UPLOAD_TYPES.
        born: int64, span of the upload, negative if before the log.
    """

    author: Array
    topic: Array
    tags: Array
    appeal: Array
    quality: Array
    clickbait: Array
    log_popularity: Array
    duration: Array
    duration_known: Array
    upload_type: Array
    born: Array

    def __len__(self) -> int:
        return len(self.appeal)


def concatenated(first: Entities, second: Entities) -> Entities:
    """The entities of `first`, then those of `second`."""
    arrays = {
        field.name: np.concatenate([getattr(first, field.name), getattr(second, field.name)])
        for field in fields(first)  # type: ignore[arg-type]
    }
    return type(first)(**arrays)


def draw_users(number: int, span: int, space: TasteSpace, world: World, random: np.random.Generator) -> Users:
    """Users that arrive in `span`; those of span 0 registered up to four years before."""
    group = random.integers(0, NUM_GROUPS, number)
    own_taste = normal(random, (number, TASTES))
    taste = (0.6 * space.groups[group] + 0.8 * own_taste).astype(np.float32)
    levels = normal(random, (3, number)) * np.float32(world.user_spread)
    log_activity = normal(random, number) * np.float32(world.activity_spread)
    days = random.integers(0, 1500 if span == 0 else 3, number).astype(np.float32)
    unknown = random.random(number) < 0.03
    standard_activity = log_activity / np.float32(max(world.activity_spread, 1e-6))
    noisy_activity = standard_activity + 0.5 * normal(random, number)
    counts = np.floor(
        np.exp(normal(random, (3, number)) + np.array([[3.5], [2.5], [1.5]]) + 0.5 * noisy_activity)
    ).astype(np.float32)
    counts[:, unknown] = np.nan
    return Users(
        taste=taste,
        click=levels[0],
        satisfaction=levels[1],
        generosity=levels[2],
        log_activity=log_activity,
        arrival=np.full(number, span),
        register_days=np.where(unknown, np.nan, days).astype(np.float32),
        followed=counts[0],
        fans=counts[1],
        friends=counts[2],
        active_degree=np.where(unknown, 4, np.digitize(-noisy_activity, [-0.8, 0.0, 0.8])).astype(np.int32),
        traits=_draw_traits(group, levels, world, random),
    )


def _draw_traits(group: Array, levels: Array, world: World, random: np.random.Generator) -> Array:
    number = len(group)
    traits = np.empty((number, len(TRAIT_VALUES)), dtype=np.int32)
    traits[:, 0] = random.integers(0, TRAIT_VALUES[0], number)
    traits[:, 1] = group
    for trait, level in enumerate(levels, start=2):
        noisy_level = level / max(world.user_spread, 1e-6) + world.trait_noise * normal(random, number)
        traits[:, trait] = np.digitize(noisy_level, [-1.2, -0.4, 0.4, 1.2])
    traits[:, 5] = random.integers(0, TRAIT_VALUES[5], number)
    traits[random.random(number) < 0.05, 5] = -1
    return traits


def draw_authors(number: int, world: World, random: np.random.Generator) -> Authors:
    """New authors."""
    return Authors(
        quality=normal(random, number) * np.float32(0.5 * world.video_spread),
        clickbait=random.random(number) < world.clickbait_authors,
        topic=random.integers(0, TOPICS, number),
    )


def draw_videos(
    number: int, span: int, authors: Authors, space: TasteSpace, world: World, random: np.random.Generator
) -> Videos:
    """Videos uploaded in `span` by any of the authors; those of span 0 up to two months before."""
    author = random.integers(0, len(authors), number)
    is_usual = random.random(number) < 0.7
    main_topic = np.where(is_usual, authors.topic[author], random.integers(0, TOPICS, number))
    tags = np.stack([main_topic, *random.integers(0, TOPICS, (MAX_TAGS - 1, number))], axis=1)
    num_tags = random.choice(MAX_TAGS + 1, p=[0.01, 0.6, 0.3, 0.09], size=number)
    tags[np.arange(MAX_TAGS) >= num_tags[:, None]] = -1
    # The entries of user and topic vectors have variance 1, so their dot product has variance TASTES.
    scale = np.float32(world.taste_strength / np.sqrt(TASTES))
    topic = scale * (0.8 * space.topics[main_topic] + 0.6 * normal(random, (number, TASTES)))
    clickbait = random.random(number) < np.where(authors.clickbait[author], 0.8, 0.03)
    duration = np.clip(np.exp(4.2 + 1.0 * normal(random, number)), 3, 1200).astype(np.float32)
    upload_type = np.where(duration > 60, 0, 1) + 2 * random.integers(0, 2, number)
    upload_type = np.where(random.random(number) < 0.1, 5, upload_type)
    upload_type = np.where(random.random(number) < np.where(clickbait, 0.4, 0.08), 4, upload_type)
    levels = normal(random, (2, number)) * np.float32(world.video_spread)
    return Videos(
        author=author,
        topic=topic.astype(np.float32),
        tags=tags,
        appeal=levels[0] + authors.quality[author],
        quality=levels[1] + authors.quality[author],
        clickbait=clickbait.astype(np.float32),
        log_popularity=1.2 * normal(random, number),
        duration=duration,
        duration_known=random.random(number) >= 0.016,
        upload_type=upload_type.astype(np.int32),
        born=span - (random.integers(0, 60, number) if span == 0 else np.zeros(number, dtype=np.int64)),
    )
