"""State of the simulated world in one span: users, videos, authors, tastes, trends and logging bias."""

from __future__ import annotations

import numpy as np

from eventlog.simulator.population import TasteSpace, concatenate, draw_authors, draw_users, draw_videos
from eventlog.simulator.randomness import RandomStream, generator, normal, random_walk_step
from eventlog.simulator.world import NUM_TOPICS, SURFACES, TASTE_SIZE, VALUES_PER_TRAIT, World


class WorldState:
    """The world in one span. A new state is in span 0; `advance` moves it to the next span.

    Equal (world, examples_per_span, seed) give equal states. Draws of impressions do not change the state.

    Attributes:
        span: the number of the current span.
        users, videos, authors: all that have arrived so far; their indices never change.
        passing_taste: `[users, TASTE_SIZE]` float32, added to the lasting taste.
        topic_trend: `[NUM_TOPICS]` float32, added to the click logit.
        surface_trend: `[2, surfaces]` float32, added to the logits of click and of long_view after a click.
        logging_bias: `[values of trait 0, NUM_TOPICS]` float32, added to the logarithm of the logged LTV.
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
        random = generator(seed, 0, RandomStream.DRIFT)
        base_drift = np.float32(world.base_drift)
        self.passing_taste = np.float32(world.taste_drift) * normal(random, (self._num_users, TASTE_SIZE))
        self.topic_trend = base_drift * normal(random, NUM_TOPICS)
        self.surface_trend = base_drift * normal(random, (2, len(SURFACES)))
        self.logging_bias = np.float32(world.logging_bias) * normal(random, (VALUES_PER_TRAIT[0], NUM_TOPICS))

    def advance(self) -> None:
        """Moves to the next span: tastes, trends and bias drift, then users, authors and videos arrive."""
        self.span += 1
        self._drift()
        self._arrive()

    def _drift(self) -> None:
        world, random = self.world, generator(self.seed, self.span, RandomStream.DRIFT)
        self.topic_trend = random_walk_step(
            self.topic_trend, world.base_persistence, world.base_drift, random
        )
        self.surface_trend = random_walk_step(
            self.surface_trend, world.base_persistence, world.base_drift, random
        )
        self.logging_bias = random_walk_step(
            self.logging_bias, world.logging_bias_persistence, world.logging_bias, random
        )
        self.passing_taste = random_walk_step(
            self.passing_taste, world.taste_persistence, world.taste_drift, random
        )

    def _arrive(self) -> None:
        world, random = self.world, generator(self.seed, self.span, RandomStream.ARRIVALS)
        num_users = max(1, round(self._num_users * world.new_users))
        num_videos = max(1, round(self._num_videos * world.new_videos))
        num_authors = max(1, round(num_videos / world.videos_per_author))
        self.users = concatenate(self.users, draw_users(num_users, self.span, self._space, world, random))
        taste = np.float32(world.taste_drift) * normal(random, (num_users, TASTE_SIZE))
        self.passing_taste = np.concatenate([self.passing_taste, taste])
        self.authors = concatenate(self.authors, draw_authors(num_authors, world, random))
        videos = draw_videos(num_videos, self.span, self.authors, self._space, world, random)
        self.videos = concatenate(self.videos, videos)
