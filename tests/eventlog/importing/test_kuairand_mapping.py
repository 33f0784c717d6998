"""The mapping of KuaiRand gives the columns of the adapter, except history and random exposures."""

import dataclasses
import os
import random
from pathlib import Path

import pytest

from eventlog.importing.importer import import_table, log_columns
from eventlog.kuairand.adapter import write_kuairand
from eventlog.kuairand.columns import FEATURE_COLUMNS, LOG_COLUMNS
from pipeline.mapping_file import load_mapping
from pipeline.new_deployment.writing import write_first_deployment
from tests.conftest import REPOSITORY
from tests.eventlog.importing.tables import read
from tests.eventlog.kuairand.test_adapter import impression, user_features, video_features, write_source

MAPPING = REPOSITORY / "pipeline" / "configs" / "kuairand-import.yaml"
NUM_SAMPLED = 1000


def require_same_rows(source: Path, folder: Path, max_dropped: float) -> int:
    """Compares sampled rows of both logs; returns the number of spans."""
    num_spans = write_kuairand(source, folder / "adapter")
    mapping = dataclasses.replace(load_mapping(MAPPING), max_dropped=max_dropped)
    import_table(mapping, str(MAPPING), source, folder / "mapping")
    names = ["event_time_ms", "surface", "cluster_id", *FEATURE_COLUMNS.names]
    names += [f"label_{task}" for task in LOG_COLUMNS.delays]
    pairs = []
    for span in range(num_spans):
        ours, theirs = (
            {(row["example_id"], row["impression_span"]): row for row in read(folder / name, span)}
            for name in ("mapping", "adapter")
        )
        assert ours.keys() == theirs.keys()
        # Rows with one id get their numbers in another order.
        pairs += [(ours[key], row) for key, row in theirs.items() if (f"{key[0]}-2", key[1]) not in theirs]
    pairs = [pair for pair in pairs if pair[1]["example_id"].count("-") == 3]
    for our_row, their_row in random.Random(0).sample(pairs, min(len(pairs), NUM_SAMPLED)):
        for name in names:
            expected = their_row[name]
            if isinstance(expected, float):
                expected = pytest.approx(expected, rel=1e-6)
            assert our_row[name] == expected, (their_row["example_id"], name)
    return num_spans


def test_the_mapping_has_the_labels_and_features_of_the_adapter() -> None:
    columns = log_columns(load_mapping(MAPPING))
    assert columns.delays == LOG_COLUMNS.delays
    assert dict(columns.features) == {field.name: field.type for field in FEATURE_COLUMNS}


def test_small_files_give_the_rows_of_the_adapter(tmp_path: Path) -> None:
    users = [user_features(1), user_features(2, follow_user_num="", onehot_feat0=-124, onehot_feat4="3.0")]
    videos = [
        video_features(7),
        video_features(8, tag="39, 3,-124,", upload_dt="2022-05-30"),
        video_features(9, tag=""),
    ]
    rows = [
        impression(user, video, day, 10 + user, is_click=day % 2, play_time_ms=1000 * day * video)
        for day in range(5)
        for user, video in ((1, 7), (2, 8), (3, 9))
    ]
    rows += [rows[0], impression(1, 7, 4, 23, duration_ms=0, is_like=-124), impression(2, 7, 4, -0.5)]
    source = write_source(tmp_path / "source", rows, users=users, videos=videos)
    assert require_same_rows(source, tmp_path, max_dropped=0.3) == 5


@pytest.fixture
def release() -> Path:
    source = Path(os.environ.get("KUAIRAND_DIR", REPOSITORY / "data" / "kuairand"))
    if not source.is_dir():
        pytest.skip("KuaiRand is missing: set KUAIRAND_DIR or link it to data/kuairand")
    # The release has its files in the folder `data`; the import reads the folder that it is given.
    return source / "data" if (source / "data").is_dir() else source


@pytest.mark.slow
def test_the_real_release_gives_the_rows_of_the_adapter(release: Path, tmp_path: Path) -> None:
    assert require_same_rows(release, tmp_path, max_dropped=0.1) == 14


@pytest.mark.slow
def test_init_finds_what_the_mapping_says_about_the_release(release: Path, tmp_path: Path) -> None:
    first = write_first_deployment(tmp_path, release)
    draft, mapping = load_mapping(tmp_path / "mapping.yaml"), load_mapping(MAPPING)
    assert {(table.key, first.profiles.source.name) for table in draft.tables.values()} == {
        ("user_id", "source"), ("video_id", "source"),
    }  # fmt: skip
    assert (draft.time.unit, draft.spans.by) == (mapping.time.unit, mapping.spans.by)
    assert draft.cluster == "source.user_id"
    labels = {label.column.name for label in first.roles.labels}
    # The other labels of the mapping are rare and look like outcomes, so they are no features either.
    assert {"is_click", "long_view", "is_like", "play_time_ms"} <= labels
    outcomes = {"source.is_comment", "source.is_profile_enter"}
    assert outcomes <= set(first.roles.left_out)
