"""Where a run is killed: SIGKILL to itself at a named point, or after a while, in a forked child."""

import itertools
import os
import random
import signal
import threading
from typing import NamedTuple

from tfx.orchestration.portable import launcher

from components.label_store.delta.store import DeltaLabelStore
from components.label_store.delta.table import Snapshot
from models import training
from models.training import TrainingRun


class Kill(NamedTuple):
    """`point` is a node id with `moment` before or after its publication, or a place inside a node.

    A node's own place is reached while `node` is running; `span` is None for the bootstrap.
    """

    span: int | None
    node: str
    moment: str


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def arm(kill):
    """Makes this process kill itself at the point, when the run with the span's name gets there."""
    running = {}
    publish = launcher.Launcher._publish_successful_execution
    prepare = launcher.Launcher._prepare_execution

    def is_there(moment):
        return running == {"node": kill.node, "span": kill.span} and kill.moment == moment

    def prepared(self):
        running.update(node=self._pipeline_node.node_info.id, span=span_of(self._pipeline_runtime_spec))
        return prepare(self)

    def published(self, *arguments, **options):
        if is_there("before publication"):
            die()
        publish(self, *arguments, **options)
        if is_there("after publication"):
            die()

    launcher.Launcher._prepare_execution = prepared
    launcher.Launcher._publish_successful_execution = published
    around(DeltaLabelStore, "publish", is_there, "staged", "published")
    around(Snapshot, "publish", is_there, "recorded", "committed")
    around(DeltaLabelStore, "pin", is_there, "before the pin", "pinned")
    around(TrainingRun, "_write_scalars", is_there, "trained", None)
    around(training, "write_state", is_there, None, "state written")
    around(training, "export_model", is_there, None, "exported")


def span_of(runtime):
    """The span of a run id such as `chaos-span.span-00003-v0.1f2e3d`; None of the bootstrap's."""
    what = runtime.pipeline_run_id.field_value.string_value.split(".")[1]
    return int(what.split("-")[1]) if what.startswith("span") else None


def around(owner, name, is_there, before, after):
    original = getattr(owner, name)

    def spoilt(*arguments, **options):
        if is_there(before):
            die()
        result = original(*arguments, **options)
        if is_there(after):
            die()
        return result

    setattr(owner, name, spoilt)


def arm_clock(seconds):
    """Makes this process kill itself after so many seconds, wherever it is then."""
    timer = threading.Timer(seconds, die)
    timer.daemon = True
    timer.start()


def enumerate_kills(bootstrap_nodes, span_nodes, spans, surfaces):
    """Every point once, spread over the spans in the order in which a run comes by them.

    Args:
        bootstrap_nodes: node ids of the bootstrap, in order.
        span_nodes: span -> node ids of its pipeline, in order.
        spans: the spans that are run.
        surfaces: those of the fleet.
    """
    kills = [Kill(None, node, moment) for node in bootstrap_nodes for moment in MOMENTS]
    # Its record is there then, and what is recorded is not run again.
    kills.remove(Kill(None, "SpanPublisher", "after publication"))
    points = [
        (node, moment) for node in dict.fromkeys(itertools.chain(*span_nodes.values())) for moment in MOMENTS
    ]
    points += [
        ("SoftLabelBulkInferrer", moment) for moment in ("staged", "recorded", "committed", "published")
    ]
    # The first surface to join pins the set for all.
    joins = [node for node in span_nodes[spans[0]] if node.startswith("SoftLabelTransform")]
    points += [(joins[0], moment) for moment in ("before the pin", "pinned")]
    trainers = ["Trainer_teacher", f"Trainer_student_{surfaces[0]}", f"Trainer_control_{surfaces[0]}"]
    points += [(node, moment) for node in trainers for moment in ("trained", "state written", "exported")]
    for number, (node, moment) in enumerate(points):
        able = [span for span in spans if node in span_nodes[span]]
        kills.append(Kill(able[number % len(able)], node, moment))
    return sorted(kills, key=lambda kill: (kill.span is not None, kill.span or 0, place(kill, span_nodes)))


MOMENTS = ("before publication", "after publication")
INSIDE = ("staged", "before the pin", "trained", "recorded", "state written", "committed", "exported")


def place(kill, span_nodes):
    """Where in its pipeline a kill is: by node, then the inside of it, then its publication."""
    if kill.span is None:
        return (0, 0)
    late = 20 + MOMENTS.index(kill.moment) if kill.moment in MOMENTS else 0
    inside = INSIDE.index(kill.moment) if kill.moment in INSIDE else 15
    return (span_nodes[kill.span].index(kill.node), late or inside)


def random_seconds(number, seed):
    """How long each of the random victims lives: altogether less than the last spans take."""
    draw = random.Random(seed)
    return [draw.uniform(0.5, 8.0) for _ in range(number)]
