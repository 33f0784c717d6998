import numpy as np
import pytest

from experiments.trials.stream import ExampleStream

TASKS = ("click", "watch_time", "ltv")


@pytest.fixture(scope="session")
def stream_folder(small_config, small_log, tmp_path_factory):
    """The stream of the small event log."""
    from experiments.trials.loading import load_stream
    from pipeline.config_file import load_deployment

    return load_stream(load_deployment(small_config), small_log, tmp_path_factory.mktemp("streams"))


@pytest.fixture
def small_stream(stream_folder):
    from experiments.trials.stream import read_stream

    return read_stream(stream_folder)


@pytest.fixture
def deployment(small_config):
    from pipeline.config_file import load_deployment

    return load_deployment(small_config)


@pytest.fixture
def hand_made():
    """Four rows in span 0 and four in span 3; the last one is the matured row of row 1's impression."""
    labels = np.full((8, 3), np.nan, np.float32)
    labels[:7, 0] = [1, 0, 0, 1, 1, 0, 1]
    labels[:7, 1] = [2.0, 0.5, 1.0, 3.0, 2.0, 0.0, 1.0]
    labels[7, 2] = 4.0
    return ExampleStream(
        key="hand-made",
        tasks=TASKS,
        surface_names=("tab_1", "tab_0"),
        features={"hour": np.array([1, 2, 1, 2, 1, 2, 1, 2], np.int32)},
        labels=labels,
        spans=np.array([0, 0, 0, 0, 3, 3, 3, 3], np.int32),
        fresh_row_indices=np.array([0, 1, 2, 3, 4, 5, 6, 1]),
        clusters=np.array([0, 1, 2, 0, 1, 2, 0, 1], np.int32),
        surfaces=np.array([0, 0, 1, 1, 0, 0, 1, 0], np.int32),
        held_out=np.zeros(8, bool),
    )
