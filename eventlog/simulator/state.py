"""State of the simulated world in one span: users, videos, authors, tastes, base rates and logging bias."""

from __future__ import annotations

import numpy as np

from eventlog.simulator.population import TasteSpace, concatenated, draw_authors, draw_users, draw_videos
from eventlog.simulator.randomness import RandomStream, generator, normal, random_walk_step
from eventlog.simulator.world import SURFACES, TASTES, TOPICS, TRAIT_VALUES, World


class WorldState:
    """The world in one span. It starts in span 0 and moves by one span with `advance`.

    Equal (world, examples_per_span, seed) give equal states, whatever is drawn between the spans.

    Attributes:
        span: the number of the current span.
        users, videos, authors: all that have arrived so far; indices never change.
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
        self._space = TasteSpace.draw(generator(seed, 0, RandomStream.TASTE_SPACE))
        random = generator(seed, 0, RandomStream.ARRIVALS)
        num_authors = max(5, round(self._num_videos / world.videos_per_author))
        self.users = draw_users(self._num_users, 0, self._space, world, random)
        self.authors = draw_authors(num_authors, world, random)
        self.videos = draw_videos(self._num_videos, 0, self.authors, self._space, world, random)
        drift = generator(seed, 0, RandomStream.DRIFT)
        base = np.float32(world.base_drift)
        self.passing_taste = np.float32(world.taste_drift) * normal(drift, (self._num_users, TASTES))
        self.topic_trend = base * normal(drift, TOPICS)
        self.surface_trend = base * normal(drift, (2, len(SURFACES)))
        self.logging_bias = np.float32(world.logging_bias) * normal(drift, (TRAIT_VALUES[0], TOPICS))

    def advance(self) -> None:
        """Moves to the next span: drift first, then arrivals."""
        self.span += 1
        self._drift()
        self._arrive()

    def _drift(self) -> None:
        world, random, step = (
            self.world,
            generator(self.seed, self.span, RandomStream.DRIFT),
            random_walk_step,
        )
        self.topic_trend = step(self.topic_trend, world.base_persistence, world.base_drift, random)
        self.surface_trend = step(self.surface_trend, world.base_persistence, world.base_drift, random)
        self.logging_bias = step(
            self.logging_bias, world.logging_bias_persistence, world.logging_bias, random
        )
        self.passing_taste = step(self.passing_taste, world.taste_persistence, world.taste_drift, random)

    def _arrive(self) -> None:
        world, random = self.world, generator(self.seed, self.span, RandomStream.ARRIVALS)
        num_users = max(1, round(self._num_users * world.new_users))
        num_videos = max(1, round(self._num_videos * world.new_videos))
        num_authors = max(1, round(num_videos / world.videos_per_author))
        self.users = concatenated(self.users, draw_users(num_users, self.span, self._space, world, random))
        taste = np.float32(world.taste_drift) * normal(random, (num_users, TASTES))
        self.passing_taste = np.concatenate([self.passing_taste, taste])
        self.authors = concatenated(self.authors, draw_authors(num_authors, world, random))
        videos = draw_videos(num_videos, self.span, self.authors, self._space, world, random)
        self.videos = concatenated(self.videos, videos)
