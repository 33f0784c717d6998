from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from eventlog.errors import BadInput
from models import scoring
from models.ranker import Ranker
from models.scoring import Scorer, load_scorer
from models.serving import ServedRanker, export_model
from models.transform_graph import TransformGraph
from tests.models.tiny_world import example, job, random_columns, write_shard

CARRY = {
    "example_id": pa.string(),
    "surface": pa.string(),
    "impression_span": pa.int64(),
    "label_like": pa.float32(),
}


@pytest.fixture(scope="module")
def model(graph_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    teacher = job("teacher")
    artifact = tmp_path_factory.mktemp("scored")
    graph = TransformGraph(str(graph_dir), teacher.features)
    export_model(str(artifact / "Format-Serving"), ServedRanker(Ranker(teacher), graph, teacher))
    return artifact


@pytest.fixture(scope="module")
def scorer(model: Path) -> Scorer:
    return load_scorer(str(model))


def shards_of(folder: Path, rows: list[dict[str, Any]]) -> list[str]:
    paths = [folder / f"span-00000-0000{index}-of-00002.gz" for index in (0, 1)]
    write_shard(paths[0], rows[:30])
    write_shard(paths[1], rows[30:])
    return [str(path) for path in paths]


def test_every_example_is_scored_in_order_with_its_carried_columns(
    scorer: Scorer, model: Path, tmp_path: Path
) -> None:
    rows = random_columns(50, seed=6)
    table = pa.Table.from_batches(scorer.score_files(shards_of(tmp_path, rows), CARRY, batch_size=16))
    for name in CARRY:
        assert table[name].to_pylist() == [row[name] for row in rows]
    served = tf.saved_model.load(str(model / "Format-Serving")).signatures["serving_default"]
    expected = served(examples=tf.constant([example(**row) for row in rows]))
    for task in ("click", "like", "watch_time"):
        np.testing.assert_allclose(table[task], expected[task], rtol=1e-5)


def test_batches_have_the_given_size_and_one_schema(scorer: Scorer, tmp_path: Path) -> None:
    files = shards_of(tmp_path, random_columns(50, seed=6))
    batches = list(scorer.score_files(files, CARRY, batch_size=16))
    assert [batch.num_rows for batch in batches] == [16, 16, 16, 2]
    tasks = [(task, pa.float32()) for task in ("click", "like", "watch_time")]
    assert {batch.schema for batch in batches} == {pa.schema([*CARRY.items(), *tasks])}


def test_without_carried_columns_only_scores_remain(scorer: Scorer, tmp_path: Path) -> None:
    (batch,) = scorer.score_files(shards_of(tmp_path, random_columns(31, seed=6)), {})
    assert batch.schema.names == ["click", "like", "watch_time"]
    assert batch.num_rows == 31


def test_a_column_of_another_type_is_refused(scorer: Scorer, tmp_path: Path) -> None:
    files = shards_of(tmp_path, random_columns(31, seed=6))
    with pytest.raises(BadInput, match=r"span-00000-00000.* and 1 more: the examples cannot be scored"):
        list(scorer.score_files(files, {"hour": pa.string()}))


def test_a_damaged_shard_is_refused(scorer: Scorer, tmp_path: Path) -> None:
    files = shards_of(tmp_path, random_columns(50, seed=6))
    Path(files[1]).write_bytes(Path(files[1]).read_bytes()[:200])
    with pytest.raises(BadInput, match="the examples cannot be scored: expected GZIP TFRecord shards"):
        list(scorer.score_files(files, CARRY))


@pytest.mark.parametrize("damage", ["missing", "torn", "no signature"])
def test_an_unreadable_model_is_refused(damage: str, tmp_path: Path) -> None:
    serving = tmp_path / "Format-Serving"
    if damage == "torn":
        serving.mkdir()
        (serving / "saved_model.pb").write_bytes(b"torn")
    if damage == "no signature":
        tf.saved_model.save(tf.Module(), str(serving))
    with pytest.raises(BadInput, match=r'Format-Serving: the model cannot be read: .*"serving_default", got'):
        load_scorer(str(tmp_path))


@pytest.fixture
def other_model(model: Path, graph_dir: Path, tmp_path: Path) -> Path:
    """A model of the same graph with other weights, exported by the same process."""
    teacher = job("teacher")
    ranker = Ranker(teacher)
    served = ServedRanker(ranker, TransformGraph(str(graph_dir), teacher.features), teacher)
    for name in ("first", "other"):
        export_model(str(tmp_path / name / "Format-Serving"), served)
        for variable in ranker.trainable_variables:
            variable.assign_add(tf.ones_like(variable))
    return tmp_path / "other"


def clicks(batch: pa.RecordBatch) -> list[float]:
    values: list[float] = batch["click"].to_pylist()
    return values


def test_models_with_equal_graphs_share_one_graph_and_score_with_their_own_weights(
    other_model: Path, tmp_path: Path
) -> None:
    files = shards_of(tmp_path, random_columns(50, seed=6))
    first, second = load_scorer(str(tmp_path / "first")), load_scorer(str(other_model))
    assert first.graph is second.graph
    alone = [[clicks(batch) for batch in scorer.score_files(files, {}, 16)] for scorer in (first, second)]
    in_turn = zip(first.score_files(files, {}, 16), second.score_files(files, {}, 16), strict=True)
    assert [[clicks(batch) for batch in pair] for pair in in_turn] == [
        list(pair) for pair in zip(*alone, strict=True)
    ]
    for uri, scores in ((tmp_path / "first", alone[0]), (other_model, alone[1])):
        served = tf.saved_model.load(str(uri / "Format-Serving")).signatures["serving_default"]
        rows = random_columns(50, seed=6)
        expected = served(examples=tf.constant([example(**row) for row in rows]))["click"]
        np.testing.assert_allclose(np.concatenate(scores), expected, rtol=1e-5)
    assert alone[0] != alone[1]


def test_unreadable_weights_raise_and_leave_the_other_model_usable(other_model: Path, tmp_path: Path) -> None:
    files = shards_of(tmp_path, random_columns(50, seed=6))
    first, second = load_scorer(str(tmp_path / "first")), load_scorer(str(other_model))
    before = [clicks(batch) for batch in first.score_files(files, {})]
    shutil.rmtree(other_model)
    with pytest.raises(BadInput, match=r"other/Format-Serving: the model cannot be read"):
        list(second.score_files(files, {}))
    assert [clicks(batch) for batch in first.score_files(files, {})] == before


def test_a_graph_is_loaded_once_by_content_and_the_least_recently_used_is_evicted(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_MAX_GRAPHS", 2)
    monkeypatch.setattr(scoring, "_GRAPHS", {})
    uris = []
    for name in "abc":
        uris.append(str(shutil.copytree(model, tmp_path / name)))
        assets = tmp_path / name / "Format-Serving" / "assets"
        assets.mkdir(exist_ok=True)
        (assets / "note").write_text(name)
    first, second = load_scorer(uris[0]), load_scorer(uris[1])
    assert load_scorer(str(shutil.copytree(uris[0], tmp_path / "copy"))).graph is first.graph
    load_scorer(uris[2])
    assert load_scorer(uris[0]).graph is first.graph
    assert len(scoring._GRAPHS) == 2
    assert load_scorer(uris[1]).graph is not second.graph
