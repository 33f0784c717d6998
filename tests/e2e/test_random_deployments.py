"""Random deployments run, or are refused with a line for each fault. RANDOM_DEPLOYMENTS=200 tries more."""

import os

import pytest

NUM_CHECKED = int(os.environ.get("RANDOM_DEPLOYMENTS", "40"))
NUM_RUN = int(os.environ.get("RANDOM_RUNS", "10"))

pytestmark = pytest.mark.slow


def refusals(printed):
    return [line for line in printed.splitlines() if line.startswith("rankdistill: ")]


def test_random_deployments_are_accepted_or_refused_without_a_traceback(command, tmp_path):
    from tests.e2e.random_deployments import write_random_deployment

    accepted = []
    for seed in range(NUM_CHECKED):
        folder = tmp_path / str(seed)
        folder.mkdir()
        config, log = write_random_deployment(folder, seed)
        code, printed = command("config", "check", config, "--events", log)
        lines = refusals(printed)
        assert code == (2 if lines else 0), (seed, code, lines)
        log_code, printed = command("events", "check", "--events", log)
        log_lines = refusals(printed)
        assert (log_code == 0) == (not log_lines), (seed, log_lines)
        assert log_code in (0, 2)
        if code == 0:
            assert log_code == 0, "config check includes the log"
            accepted.append((seed, config, log, folder / "root"))
    assert NUM_CHECKED / 5 < len(accepted) < NUM_CHECKED

    ended = {}
    for seed, config, log, root in accepted[:NUM_RUN]:
        code, printed = command("run", "--config", config, "--events", log, "--root", root, "--spans", "4:4")
        lines = refusals(printed)
        ended[seed] = code
        # `run` prints a line for each surface that failed.
        assert code == (2 if lines else 0), (seed, code, lines)
    assert 0 in ended.values()
