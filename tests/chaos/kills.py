"""Kills a run in a forked child: SIGKILL to itself at a named point, or after a number of seconds."""

import itertools
import os
import random
import signal
import threading
from typing import NamedTuple

from tfx.orchestration.portable import launcher

from components.label_store.delta.store import DeltaLabelStore
from components.label_store.delta.table import LabelTable
from models import training
from models.training import TrainingRun


class Kill(NamedTuple):
    """A point of a run: before or after the publication of a node's outputs, or a moment inside the node.

    `span` is the name of its pipeline for a burn-in.
    """

    span: int | str
    node: str
    moment: str


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def arm(kill):
    """Makes this process kill itself when its run reaches the point."""
    running = {}
    publish = launcher.Launcher._publish_successful_execution
    prepare = launcher.Launcher._prepare_execution

    def is_point(moment):
        return running == {"node": kill.node, "span": kill.span} and kill.moment == moment

    def prepare_and_note(self):
        running.update(node=self._pipeline_node.node_info.id, span=span_of(self._pipeline_runtime_spec))
        return prepare(self)

    def publish_or_die(self, *arguments, **options):
        if is_point("before publication"):
            die()
        publish(self, *arguments, **options)
        if is_point("after publication"):
            die()

    launcher.Launcher._prepare_execution = prepare_and_note
    launcher.Launcher._publish_successful_execution = publish_or_die
    around(DeltaLabelStore, "publish", is_point, "staged", "published")
    around(LabelTable, "publish", is_point, "recorded", "committed")
    around(DeltaLabelStore, "pin", is_point, "before the pin", "pinned")
    around(TrainingRun, "_write_scalars", is_point, "trained", None)
    around(training, "write_state", is_point, None, "state written")
    around(training, "export_model", is_point, None, "exported")


def span_of(runtime):
    """The span of a run id such as `chaos-span.span-00003-v0.1f2e3d`; the pipeline's name for a burn-in."""
    pipeline, name, _ = runtime.pipeline_run_id.field_value.string_value.split(".")
    return int(name.split("-")[1]) if name.startswith("span") else pipeline


def around(owner, name, is_point, before, after):
    original = getattr(owner, name)

    def call_or_die(*arguments, **options):
        if is_point(before):
            die()
        result = original(*arguments, **options)
        if is_point(after):
            die()
        return result

    setattr(owner, name, call_or_die)


def arm_clock(seconds):
    """Makes this process kill itself after a number of seconds."""
    timer = threading.Timer(seconds, die)
    timer.daemon = True
    timer.start()


def enumerate_kills(burn_ins, span_nodes, spans, surfaces):
    """Every point once, distributed over the spans, in the order in which a run reaches them.

    Args:
        burn_ins: pipeline of a burn-in -> its node ids, in order.
        span_nodes: span -> node ids of its pipeline, in order.
        spans: the spans that are run.
        surfaces: the surfaces of the fleet.
    """
    kills = [
        Kill(name, node, moment) for name, nodes in burn_ins.items() for node in nodes for moment in MOMENTS
    ]
    for name in burn_ins:
        # The record exists by then, so the burn-in does not run again.
        kills.remove(Kill(name, "SpanPublisher", "after publication"))
    points = [
        (node, moment) for node in dict.fromkeys(itertools.chain(*span_nodes.values())) for moment in MOMENTS
    ]
    points += [
        ("SoftLabelBulkInferrer", moment) for moment in ("staged", "recorded", "committed", "published")
    ]
    # The first surface that joins pins the set for all.
    joins = [node for node in span_nodes[spans[0]] if node.startswith("SoftLabelTransform")]
    points += [(joins[0], moment) for moment in ("before the pin", "pinned")]
    trainers = ["Trainer_teacher", f"Trainer_student_{surfaces[0]}", f"Trainer_control_{surfaces[0]}"]
    points += [(node, moment) for node in trainers for moment in ("trained", "state written", "exported")]
    for number, (node, moment) in enumerate(points):
        spans_of_node = [span for span in spans if node in span_nodes[span]]
        kills.append(Kill(spans_of_node[number % len(spans_of_node)], node, moment))
    # Sorting keeps the order of the burn-ins, which run first.
    return sorted(
        kills, key=lambda kill: (0,) if kill.span in burn_ins else (1, kill.span, position(kill, span_nodes))
    )


MOMENTS = ("before publication", "after publication")
INSIDE = ("staged", "before the pin", "trained", "recorded", "state written", "committed", "exported")


def position(kill, span_nodes):
    """Sort key of a kill in its pipeline: the node, then moments inside it, then its publication."""
    late = 20 + MOMENTS.index(kill.moment) if kill.moment in MOMENTS else 0
    inside = INSIDE.index(kill.moment) if kill.moment in INSIDE else 15
    return (span_nodes[kill.span].index(kill.node), late or inside)


def random_seconds(number, seed):
    """Lifetimes of the randomly killed runs; together shorter than the last spans take."""
    generator = random.Random(seed)
    return [generator.uniform(0.5, 8.0) for _ in range(number)]
