"""One root on two platforms: begun on the older one, continued on the newer one, read again on the older one.

    python -m tests.platforms.exchange STAGE FOLDER

`begin` simulates a log and runs two spans. `continue` reads what `begin` wrote, then runs two more spans.
`return` reads what `continue` wrote; a run is refused if the installed TFX is the older one. `agree` runs the
four spans in a new root and compares labels and figures with those of the first root. FOLDER must have the
same path on both platforms.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml

from components.label_store.schemes import open_store
from components.transforms.shards import encode_examples
from eventlog.parquet_files import read_table
from eventlog.simulator import simulate
from eventlog.spans import span_files
from models.serving import EXAMPLES_INPUT, SIGNATURE
from tests.conftest import make_small_document

SPANS = {"begin": "4:5", "continue": "6:7", "agree": "4:7"}
SAME = 1e-5
"""Bound on the difference of one model's predictions: the platforms add floats in another order."""
TRAINED_ALIKE = {"labels": 0.001, "figures": 0.001}
"""Bounds on the differences between two trainings: mean soft label of a task, AUC or RMSE of a role."""


def main(stage: str, folder: Path) -> None:
    """Runs one stage; raises AssertionError if a check fails."""
    root = folder / ("again" if stage == "agree" else "root")
    if stage == "begin":
        simulate(folder / "log", spans=9, examples_per_span=1500, seed=5)
        document = make_small_document() | {"schema": "shipped:impressions.pbtxt"}
        (folder / "small.yaml").write_text(yaml.safe_dump(document))
    if stage in ("continue", "return"):
        check(folder)
    if stage == "return":
        done = run(folder, root, "8:8")
        assert done.returncode == 2, done.stderr
        assert "the root was run by a newer TFX" in done.stderr.splitlines()[-1]
        return
    done = run(folder, root, SPANS[stage])
    assert done.returncode == 0, done.stderr[-3000:]
    if stage == "agree":
        compare(folder)
    else:
        write(folder)


def run(folder: Path, root: Path, spans: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rankdistill", "run", "--config", folder / "small.yaml"]
    command += ["--events", folder / "log", "--root", root, "--spans", spans]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def write(folder: Path) -> None:
    """Writes the rows of all label sets and the predictions of all pushed students."""
    expected = {"labels": labels(folder / "root"), "predictions": predictions(folder)}
    (folder / "expected.json").write_text(json.dumps(expected))


def check(folder: Path) -> None:
    """Label sets must be equal, and predictions within SAME, to those of the platform that wrote them."""
    expected = json.loads((folder / "expected.json").read_text())
    assert expected["predictions"] and labels(folder / "root") == expected["labels"]
    found = predictions(folder)
    assert found.keys() == expected["predictions"].keys()
    for model, tasks in expected["predictions"].items():
        for task, values in tasks.items():
            worst = np.abs(np.subtract(found[model][task], values)).max()
            assert worst < SAME, (model, task, worst)
    print(f"{len(expected['labels'])} label sets and {len(found)} students are read alike")


def labels(root: Path) -> dict[str, dict[str, list]]:
    """Set id → column → values, in order of example ids."""
    store = open_store(f"delta:{root}/labels")
    sets = {}
    for record in store.list_sets():
        names = ["example_id", *(f"soft_{task}" for task in record.columns)]
        table = pa.Table.from_batches(list(store.scan(record.set_id, names))).sort_by("example_id")
        sets[record.set_id] = table.to_pydict()
    return sets


def predictions(folder: Path) -> dict[str, dict[str, list[float]]]:
    """Path of a pushed student → task → predictions of the rows of span 8."""
    import tensorflow as tf

    (file,) = span_files(folder / "log", 8)
    (batch,) = read_table(file).combine_chunks().to_batches()
    serialized = tf.constant(encode_examples(batch))
    found = {}
    for model in sorted((folder / "root" / "serving").glob("*/*")):
        signature = tf.saved_model.load(str(model)).signatures[SIGNATURE]
        scores = signature(**{EXAMPLES_INPUT: serialized})
        found[str(model.relative_to(folder))] = {
            task: score.numpy().tolist() for task, score in scores.items()
        }
    return found


def compare(folder: Path) -> None:
    """Two trainings on the same log, begun on one platform and run as a whole on the other, must be alike."""
    first, second = (by_span(labels(folder / name)) for name in ("root", "again"))
    assert first.keys() == second.keys()
    worst = {"labels": 0.0, "figures": 0.0}
    for span, columns in first.items():
        assert columns["example_id"] == second[span]["example_id"]
        for task in columns.keys() - {"example_id"}:
            difference = abs(np.mean(columns[task]) - np.mean(second[span][task]))
            worst["labels"] = max(worst["labels"], difference)
    first_figures, second_figures = (figures(folder / name) for name in ("root", "again"))
    assert first_figures.keys() == second_figures.keys()
    worst["figures"] = max(abs(first_figures[key] - second_figures[key]) for key in first_figures)
    print("largest differences:", {name: round(float(value), 5) for name, value in worst.items()})
    for name, bound in TRAINED_ALIKE.items():
        assert worst[name] <= bound, (name, worst[name])


def figures(root: Path) -> dict[tuple[str, ...], float]:
    """Surface, task, role and metric → AUC or RMSE of the run's summary."""
    surfaces = json.loads((root / "summary.json").read_text())["surfaces"]
    return {
        (surface, task, role, metric): roles[role][metric]
        for surface, values in surfaces.items()
        for task, roles in values["tasks"].items()
        for role in ("teacher", "student", "control")
        for metric in ("auc", "rmse")
        if roles[role].get(metric) is not None
    }


def by_span(sets: dict[str, dict[str, list]]) -> dict[str, dict[str, list]]:
    return {set_id.split(".")[2]: rows for set_id, rows in sets.items()}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
