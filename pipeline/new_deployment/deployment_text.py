"""The texts of the deployment, the schema and the experiment protocol of a first deployment."""

from __future__ import annotations

import json
from collections.abc import Iterator

from eventlog.rows import FIXED_COLUMNS, LABEL_PREFIX
from pipeline.new_deployment.first_deployment import FirstDeployment
from pipeline.new_deployment.mapping_text import yaml_text
from pipeline.new_deployment.roles import FeatureGuess, Label

_PRESENT = "presence { min_fraction: 1.0 min_count: 1 } value_count { min: 1 max: 1 }"
_TYPES = {"text": "BYTES", "texts": "BYTES", "integer": "INT", "number": "FLOAT"}
_ZILN_SHARE = 0.5
_SEQUENCE_LENGTH = 20
_SEQUENCE_BUCKETS = 128


def deployment_text(first: FirstDeployment) -> str:
    """The content of `deployment.yaml`."""
    parts = (_tasks, _history, _features, _models, _surfaces)
    return "\n".join(line for part in parts for line in part(first)) + "\n"


def schema_text(first: FirstDeployment) -> str:
    """The content of `schema.pbtxt`, a TFMD schema of the event log."""
    lines = [
        "# The columns of the event log, as TFX's TFMD. With value_count.max: 1, a row has one value.",
        'default_environment: "fresh"',
        'default_environment: "matured"',
    ]
    for field in FIXED_COLUMNS:
        kind = "BYTES" if str(field.type) == "string" else "INT"
        lines.append(f'feature {{ name: "{field.name}" type: {kind} {_PRESENT} }}')
    for feature in first.roles.features:
        lines.append(_schema_feature(feature))
    for label in first.roles.labels:
        lines.append(
            f'feature {{ name: "{LABEL_PREFIX}{label.task}" type: FLOAT value_count {{ min: 1 max: 1 }}'
            ' not_in_environment: "matured" }'
        )
    return "\n".join(lines) + "\n"


def protocol_text(first: FirstDeployment) -> str:
    """The content of `protocol.yaml`, for `rankdistill experiment`."""
    begin, last = first.burn_in_end + 1, first.last_span
    num_tuning = max(1, (last - begin + 1) // 3)
    tuning_end = min(begin + num_tuning - 1, last - 1) if last > begin else begin
    reporting = min(tuning_end + 1, last)
    return f"""\
# Protocol of experiments on this log. Settings are chosen on the tuning spans only.
deployment: deployment.yaml
tuning: "{begin}:{tuning_end}"
reporting: "{reporting}:{last}"
# Values that are tried for every arm, the control included.
grid:
  learning_rates: [0.025, 0.05, 0.1]
  passes: [1, 2, 3]
  input_dropouts: [0.0, 0.2, 0.4]
  soft_weights: [1.0, 4.0, 16.0]
  finalists: 2
  seeds: 2
# `strategy` biases the labels for half of this feature's values, and measures how much students repeat.
slice_feature: hour
"""


def _schema_feature(feature: FeatureGuess) -> str:
    count = "min: 1" if feature.type.endswith("s") else "min: 1 max: 1"
    domain = ""
    if feature.vocabulary:
        values = " ".join(f"value: {_pbtxt_text(value)}" for value in feature.vocabulary)
        domain = f" string_domain {{ {values} }} distribution_constraints {{ min_domain_mass: 0.5 }}"
    return (
        f'feature {{ name: "{feature.name}" type: {_TYPES[feature.type]} value_count {{ {count} }}{domain} }}'
    )


def _pbtxt_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _tasks(first: FirstDeployment) -> Iterator[str]:
    yield f"# A first deployment for {first.source}, guessed from a sample: read every line."
    yield "#   rankdistill config check deployment.yaml --events events"
    yield f"name: {first.name}"
    yield "seed: 1"
    yield "schema: schema.pbtxt"
    yield "# The spans of the burn-in, the first training of teacher and students: about a third."
    yield f'burn_in: "0:{first.burn_in_end}"'
    yield "# `pet` is engagement, `pst` satisfaction. Give a task the `delay` of its label in the mapping."
    yield "tasks:"
    for label in first.roles.labels:
        yield f"  {label.task}: {_task(label)}"


def _task(label: Label) -> str:
    if label.kind == "binary":
        return f"{{kind: binary, group: {label.group}}}"
    loss = ", loss: ziln" if label.column.zero_share >= _ZILN_SHARE else ""
    return f"{{kind: regression, group: {label.group}, unit: {label.unit}, scale: log1p{loss}}}"


def _history(first: FirstDeployment) -> Iterator[str]:
    yield "# From earlier spans: counts and smoothed mean labels of users and items, the user's last items."
    yield "history:"
    entities = ", ".join(f"{entity}: {column}" for entity, column in first.history_entities.items())
    yield f"  entities: {{{entities}}}"
    yield f"  tasks: [{', '.join(label.task for label in first.roles.labels)}]"
    if "item" in first.history_entities:
        item = first.history_entities["item"]
        yield "  sequences:"
        yield f"    items: {{entity: user, column: {item}, length: {_SEQUENCE_LENGTH}}}"


def _history_features(first: FirstDeployment) -> Iterator[tuple[str, str]]:
    """Name and settings of each history feature."""
    for entity in first.history_entities:
        for name in ("count", *(label.task for label in first.roles.labels)):
            yield f"history_{entity}_{name}", "{kind: number}"
    if "item" in first.history_entities:
        buckets = next(f.buckets for f in first.roles.features if f.name == first.history_entities["item"])
        yield "sequence_items", f"{{kind: bag, buckets: {buckets or _SEQUENCE_BUCKETS}}}"


def _features(first: FirstDeployment) -> Iterator[str]:
    yield "# An id has about twice as many buckets as values. Without buckets, the schema lists its values."
    yield "features:"
    for feature in first.roles.features:
        buckets = f", buckets: {feature.buckets}" if feature.buckets else ""
        if feature.served_as is None:
            yield f"  {feature.name}: {{kind: {feature.kind}{buckets}}}"
        else:
            yield f"  # Only training reads {feature.name}; labels and serving use {feature.served_as}."
            yield f"  {feature.name}: {{kind: {feature.kind}{buckets}, served_as: {feature.served_as}}}"
    yield from (f"  {name}: {settings}" for name, settings in _history_features(first))


def _models(first: FirstDeployment) -> Iterator[str]:
    features = [feature.name for feature in first.roles.features]
    history = [name for name, _ in _history_features(first)]
    tasks = [label.task for label in first.roles.labels]
    batch_size = 256 if first.profiles.source.num_rows > 50_000 else 64
    for role, embedding_size, trunk in (("teacher", 16, "[256, 128]"), ("student", 8, "[64, 32]")):
        yield f"{role}:"
        if role == "teacher":
            yield "  name: large"
            yield "  # Only the teacher has history: in serving, a student would need a feature store for it."
        yield f"  features: [{', '.join(features + history if role == 'teacher' else features)}]"
        yield f"  tasks: [{', '.join(tasks)}]"
        yield f"  architecture: {{embedding_size: {embedding_size}, trunk: {trunk}, input_dropout: 0.2}}"
        yield "  optimizer: {name: adagrad, learning_rate: 0.05}"
        yield f"  batch_size: {batch_size}"
        yield "  passes: 2"
    yield "  distillation:"
    yield from (f"    {task}: {{strategy: auxiliary, weight: 4.0}}" for task in tasks)


def _surfaces(first: FirstDeployment) -> Iterator[str]:
    yield "# One student and one control for each surface."
    yield "surfaces:"
    yield from (f"  {yaml_text(name)}: {{}}" for name in first.surfaces)
