"""In-memory statistics equal those of TFX's own executor."""

import pytest
import tensorflow_data_validation as tfdv
from tfx.types import standard_artifacts

from components import span_statistics
from components.span_statistics import SpanStatisticsExecutor
from components.transforms.collecting import run_and_collect
from components.transforms.encode_events import EncodeEvents
from eventlog.kuairand.columns import LOG_COLUMNS

BEAM = ["--runner=FnApiRunner"]
EXCLUDED = '["holdout", "matured", "matured_holdout"]'


@pytest.fixture(scope="module")
def examples(small_log, tmp_path_factory):
    artifact = standard_artifacts.Examples()
    artifact.uri = str(tmp_path_factory.mktemp("examples"))
    encode = EncodeEvents(str(small_log), LOG_COLUMNS, 4, artifact.uri, 700)
    run_and_collect(lambda pipeline: pipeline | encode, BEAM, f"{artifact.uri}/scratch")
    artifact.split_names = '["train", "holdout", "matured", "matured_holdout"]'
    artifact.span = 4
    return artifact


def statistics(examples, schema_folder, folder, rows):
    schema, output = standard_artifacts.Schema(), standard_artifacts.ExampleStatistics()
    schema.uri, output.uri = str(schema_folder), str(folder)
    examples.set_int_custom_property("fresh_rows", rows)
    context = SpanStatisticsExecutor.Context(
        beam_pipeline_args=BEAM, tmp_dir=str(folder), unique_id="scratch"
    )
    SpanStatisticsExecutor(context).Do(
        {"examples": [examples], "schema": [schema]},
        {"statistics": [output]},
        {"exclude_splits": EXCLUDED, "stats_options_json": None},
    )
    assert output.split_names == '["train"]'
    assert output.span == 4
    return tfdv.load_stats_binary(str(folder / "Split-train" / "FeatureStats.pb")).datasets[0]


def test_in_memory_statistics_of_a_small_span_equal_those_of_beam(examples, request, tmp_path):
    text = (request.config.rootpath / "schema" / "impressions.pbtxt").read_text()
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "schema.pbtxt").write_text(text)
    limit = span_statistics.IN_MEMORY_ROWS
    small = statistics(examples, tmp_path / "schema", tmp_path / "small", limit)
    large = statistics(examples, tmp_path / "schema", tmp_path / "large", limit + 1)

    assert small.num_examples == large.num_examples > 1000
    ours, theirs = (
        {feature.path.step[0]: feature for feature in dataset.features} for dataset in (small, large)
    )
    assert set(ours) == set(theirs)
    for name, feature in theirs.items():
        kind = feature.WhichOneof("stats")
        if not getattr(feature, kind).common_stats.num_non_missing:
            continue  # Beam gives no type for a column without values; the schema does.
        assert ours[name].type == feature.type, name
        first, second = (getattr(statistics, kind) for statistics in (ours[name], feature))
        assert first.common_stats.num_missing == second.common_stats.num_missing, name
        if kind == "num_stats":
            assert first.mean == pytest.approx(second.mean), name
            assert first.std_dev == pytest.approx(second.std_dev, rel=1e-6, abs=1e-6), name
