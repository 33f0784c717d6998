"""The world on a given day: who is there, and how tastes, base rates and logging bias stand."""

from __future__ import annotations

import numpy as np

from eventlog.simulator.population import (
    Geography,
    draw_authors,
    draw_users,
    draw_videos,
    joined,
)
from eventlog.simulator.randomness import Stream, generator, normal, wandered
from eventlog.simulator.world import SURFACES, TASTES, TOPICS, TRAIT_VALUES, World


class WorldState:
    """The world as it moves from span to span; begins on the day of span 0.

    Equal (world, examples_per_span, seed) give equal states, whatever is drawn in between.

    Attributes:
        span: the day.
        users, videos, authors: everybody who has arrived so far; indices never change.
        passing_taste: `[users, TASTES]` float32, added to the lasting taste.
        topic_trend: `[TOPICS]` float32 click logits.
        surface_trend: `[2, surfaces]` float32 logits of click and of long_view after a click.
        logging_bias: `[values of trait 0, TOPICS]` float32, log factor on logged LTV.
    """

    def __init__(self, world: World, examples_per_span: int, seed: int) -> None:
        self.world = world
        self.seed = seed
        self.span = 0
        self._num_users = max(10, round(examples_per_span / world.impressions_per_user))
        self._num_videos = max(20, round(examples_per_span / world.impressions_per_video))
        self._geography = Geography.draw(generator(seed, 0, Stream.GEOGRAPHY))
        random = generator(seed, 0, Stream.ARRIVALS)
        num_authors = max(5, round(self._num_videos / world.videos_per_author))
        self.users = draw_users(self._num_users, 0, geography=self._geography, world=world, random=random)
        self.authors = draw_authors(num_authors, world, random)
        self.videos = draw_videos(
            self._num_videos, 0, self.authors, geography=self._geography, world=world, random=random
        )
        drift = generator(seed, 0, Stream.DRIFT)
        base = np.float32(world.base_drift)
        self.passing_taste = np.float32(world.taste_drift) * normal(drift, (self._num_users, TASTES))
        self.topic_trend = base * normal(drift, TOPICS)
        self.surface_trend = base * normal(drift, (2, len(SURFACES)))
        self.logging_bias = np.float32(world.logging_bias) * normal(drift, (TRAIT_VALUES[0], TOPICS))

    def advance(self) -> None:
        """Lets the next day come: drift, then arrivals."""
        self.span += 1
        self._drift()
        self._arrive()

    def _drift(self) -> None:
        world, random = self.world, generator(self.seed, self.span, Stream.DRIFT)
        self.topic_trend = wandered(self.topic_trend, world.base_persistence, world.base_drift, random)
        self.surface_trend = wandered(self.surface_trend, world.base_persistence, world.base_drift, random)
        self.logging_bias = wandered(
            self.logging_bias, world.logging_bias_persistence, world.logging_bias, random
        )
        self.passing_taste = wandered(self.passing_taste, world.taste_persistence, world.taste_drift, random)

    def _arrive(self) -> None:
        world, random = self.world, generator(self.seed, self.span, Stream.ARRIVALS)
        num_users = max(1, round(self._num_users * world.new_users))
        num_videos = max(1, round(self._num_videos * world.new_videos))
        num_authors = max(1, round(num_videos / world.videos_per_author))
        users = draw_users(num_users, self.span, geography=self._geography, world=world, random=random)
        self.users = joined(self.users, users)
        taste = np.float32(world.taste_drift) * normal(random, (num_users, TASTES))
        self.passing_taste = np.concatenate([self.passing_taste, taste])
        self.authors = joined(self.authors, draw_authors(num_authors, world, random))
        videos = draw_videos(
            num_videos, self.span, self.authors, geography=self._geography, world=world, random=random
        )
        self.videos = joined(self.videos, videos)
