import pytest

from rankdistill.command_line import main


@pytest.fixture
def command(monkeypatch, capfd):
    """Runs a command in this process; gives its exit code and what it prints."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["rankdistill", *map(str, arguments)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code
        printed = "".join(capfd.readouterr())
        assert "Traceback" not in printed
        return code, printed

    return run
