"""Random deployments end in a refusal of one line, or run. `RANDOM_DEPLOYMENTS=200` tries more of them."""

import os

import pytest

from rankdistill.command_line import main

NUM_CHECKED = int(os.environ.get("RANDOM_DEPLOYMENTS", "40"))
NUM_RUN = int(os.environ.get("RANDOM_RUNS", "10"))

pytestmark = pytest.mark.slow


@pytest.fixture
def command(monkeypatch, capfd):
    """Runs a command; gives its exit code and its lines of refusal."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["rankdistill", *map(str, arguments)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return code, [line for line in err.splitlines() if line.startswith("rankdistill: ")]

    return run


def test_random_deployments_are_accepted_or_refused_in_one_line(command, tmp_path):
    from tests.e2e.random_deployments import write_random_deployment

    accepted = []
    for seed in range(NUM_CHECKED):
        folder = tmp_path / str(seed)
        folder.mkdir()
        config, log = write_random_deployment(folder, seed)
        code, lines = command("config", "check", config, "--events", log)
        assert code == (2 if lines else 0), (seed, code, lines)
        log_code, log_lines = command("events", "check", "--events", log)
        assert (log_code == 0) == (not log_lines), (seed, log_lines)
        assert log_code in (0, 2)
        if code == 0:
            assert log_code == 0, "config check includes the log"
            accepted.append((seed, config, log, folder / "root"))
    assert NUM_CHECKED / 5 < len(accepted) < NUM_CHECKED

    ended = {}
    for seed, config, log, root in accepted[:NUM_RUN]:
        code, lines = command("run", "--config", config, "--events", log, "--root", root, "--spans", "4:4")
        ended[seed] = code
        # `run` prints a line for each surface that failed.
        assert code == (2 if lines else 0), (seed, code, lines)
    assert 0 in ended.values()
