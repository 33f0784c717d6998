"""A simulated event log: a world whose truth is known, seen through a logger that errs."""

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
