"""A simulator of impressions: a world with known true expectations, and an event log with logging errors."""

from eventlog.simulator.simulation import SimulatedSpan, simulate, simulated_spans
from eventlog.simulator.visits import Visits, simulated_visits
from eventlog.simulator.world import SURFACES, Surface, World

__all__ = [
    "SURFACES",
    "SimulatedSpan",
    "Surface",
    "Visits",
    "World",
    "simulate",
    "simulated_spans",
    "simulated_visits",
]
