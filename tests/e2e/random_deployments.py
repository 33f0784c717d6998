"""Random deployments and small event logs, right and wrong ones, each from a seed."""

import random

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from eventlog.simulator import simulate
from eventlog.spans import span_files
from pipeline.config_file import read_document
from tests.conftest import REPOSITORY

NUMBERS = (-1, 0, 1, 2, 0.5, 1e-9, 1e9, 10**12, float("nan"), float("inf"), True, None, "1", [], {})
"""Values that replace a random setting."""


def write_random_deployment(folder, seed):
    """Writes `deployment.yaml` and `log`; returns their paths. A third of both has a fault."""
    draw = random.Random(seed)
    document = right_document(draw)
    if draw.random() < 1 / 3:
        spoil(draw, document)
    config = folder / "deployment.yaml"
    config.write_text(yaml.safe_dump(document, sort_keys=False))
    log = folder / "log"
    simulate(log, spans=5, examples_per_span=draw.choice((40, 90, 200)), seed=seed)
    if draw.random() < 1 / 3:
        spoil_log(draw, log)
    return config, log


def right_document(draw):
    """The demo's document with other features, tasks, models, distillation, surfaces and gates."""
    document = read_document(REPOSITORY / "pipeline" / "configs" / "demo.yaml")
    document["name"] = f"walk-{draw.randrange(10**6)}"
    document["schema"] = str(REPOSITORY / "schema" / "impressions.pbtxt")
    document["seed"] = draw.randrange(2**31)
    document["burn_in"] = draw.choice(("2:3", "3:3", "0:3"))
    document["rows_per_shard"] = draw.choice((7, 64, 1000))
    document["label_with"] = draw.choice(("previous", "current"))
    document["evaluation"] = {"margin": draw.choice((0.0, 0.25, 2.0)), "resamples": draw.choice((0, 20))}
    document["validation"] = {
        "schema": "warn", "drift": draw.choice(("warn", "stop")), "skew": "warn",
        "refused_span": draw.choice(("skip", "stop")),
    }  # fmt: skip
    for task in document["tasks"].values():
        task["weight"] = draw.choice((0.0, 1.0, 5.0))
        if task["kind"] == "regression":
            task["loss"] = draw.choice(("squared", "ziln"))
    for role in ("teacher", "student"):
        document[role] |= random_model(draw, document)
    document["student"]["tasks"] = some(draw, document["teacher"]["tasks"])
    document["student"]["distillation"] = {
        task: random_distillation(draw) for task in document["student"]["tasks"] if draw.random() < 0.7
    }
    document["surfaces"] = {
        name: random_surface(draw, document) for name in some(draw, ["tab_1", "tab_0", "tab_4"])
    }
    if draw.random() < 0.5:
        add_history(draw, document)
    return document


def add_history(draw, document):
    """Adds a history under names that the log's own history columns do not have; the teacher reads it."""
    columns = {"viewer": "user_id", "clip": "video_id", "word": "tag"}
    entities = some(draw, list(columns))
    history = {
        "entities": {name: columns[name] for name in entities},
        "tasks": draw.choice(([], some(draw, list(document["tasks"])))),
        "window": draw.choice((None, {"spans": draw.choice((1, 3))}, {"half_life": draw.choice((0.3, 2.0))})),
        "prior_strength": draw.choice((0.1, 10.0)),
        "shards": draw.choice((1, 3)),
    }
    features = {
        f"history_{name}_{kind}": {"kind": "number"} for name in entities for kind in history["tasks"]
    }
    features |= {f"history_{name}_count": {"kind": "quantiles", "buckets": 3} for name in entities}
    if "viewer" in entities:
        history["sequences"] = {
            "last": {"entity": "viewer", "column": "video_id", "length": draw.choice((1, 4))}
        }
        features |= {name: {"kind": "bag", "buckets": 9} for name in ("sequence_last", "sequence_last_ages")}
        features |= {"sequence_last_hours": {"kind": "number", "log": True}}
    document["history"] = history
    document["features"] |= features
    document["teacher"]["features"] += some(draw, list(features))


def random_model(draw, document):
    return {
        "features": some(draw, list(document["features"])),
        "tasks": some(draw, list(document["tasks"])),
        "architecture": {
            "embedding_size": draw.choice((1, 4)), "trunk": draw.choice(([], [8], [8, 4])),
            "tower": draw.choice(([], [4])), "cross_layers": draw.choice((0, 1)),
            "dropout": draw.choice((0.0, 0.5)), "activation_clip": draw.choice((None, 5.0)),
        },
        "optimizer": {
            "name": draw.choice(("adagrad", "adam")), "learning_rate": draw.choice((1e-4, 0.1)),
            "warm_up_steps": draw.choice((0, 3)), "clippy": False,
        },
        "batch_size": draw.choice((1, 16, 512)), "passes": draw.choice((1, 2)),
    }  # fmt: skip


def random_distillation(draw):
    return {
        "strategy": draw.choice(("none", "direct", "auxiliary")),
        "weight": draw.choice((0.0, 1.0, 8.0)),
    }


def random_surface(draw, document):
    surface = {
        "coverage_floor": draw.choice((0.0, 0.95, 1.0)),
        "without_labels": draw.choice(("stop", "hard-only", "last")),
        "burn_in": draw.random() < 0.8,
        "control_every": draw.choice((0, 1, 2)),
    }
    binary = [name for name in document["student"]["tasks"] if document["tasks"][name]["kind"] == "binary"]
    if binary and document["evaluation"]["resamples"] and draw.random() < 0.5:
        surface["push"] = {"task": draw.choice(binary), "margin": 0.05, "alpha": 0.1}
    return surface


def spoil(draw, document):
    """Replaces, removes or misspells one setting."""
    target = document
    while True:
        key = draw.choice(list(target))
        if not isinstance(target[key], dict) or not target[key] or draw.random() < 0.3:
            break
        target = target[key]
    match draw.randrange(3):
        case 0:
            target[key] = draw.choice(NUMBERS)
        case 1:
            del target[key]
        case _:
            target[f"{key}x"] = target.pop(key)


def spoil_log(draw, log):
    """Changes a column of a span, or the file."""
    (file,) = span_files(log, draw.randrange(5))
    table = pq.read_table(file, partitioning=None)
    name = draw.choice(table.column_names)
    position = table.column_names.index(name)
    match draw.randrange(4):
        case 0:
            pq.write_table(table.drop([name]), file)
        case 1:
            pq.write_table(table.set_column(position, name, pa.nulls(table.num_rows, table[name].type)), file)
        case 2:
            pq.write_table(table[: draw.randrange(3)], file)
        case _:
            content = bytearray(file.read_bytes())
            content[draw.randrange(len(content))] ^= 0xFF
            file.write_bytes(bytes(content))


def some(draw, names):
    """A random part of some names, at least one, in their order."""
    chosen = set(draw.sample(names, draw.randint(1, len(names))))
    return [name for name in names if name in chosen]
