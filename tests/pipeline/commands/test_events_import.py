import click.testing
import pytest

from eventlog.spans import complete_spans
from pipeline.commands.events import events

MAPPING = """
time: {value: seconds, unit: s}
spans: {by: day}
surface: "'list'"
cluster: user
source: {columns: {rating: integer, seconds: integer}}
labels: {liked: {value: rating >= 4}}
features: {user: {value: user, type: text}}
max_dropped: 0.3
"""
ROWS = ["user,rating,seconds", "1,4,1709251200", "2,1,1709251200", "1,4,1709337600", ",1,1709251200", ""]


@pytest.fixture
def import_(tmp_path):
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    (tmp_path / "table.csv").write_text("\n".join(ROWS))

    def invoke():
        paths = {"--mapping": "mapping.yaml", "--source": "table.csv", "--out": "log"}
        options = [part for option, name in paths.items() for part in (option, str(tmp_path / name))]
        return click.testing.CliRunner().invoke(events, ["import", *options])

    return invoke


def test_the_command_writes_spans_and_prints_a_report(import_, tmp_path):
    result = import_()
    # The share of span 0 is a third.
    assert "span 0 (2024-03-01): too many rows are dropped" in str(result.exception)
    assert "4 rows read, 1 dropped (25.00 %)" in result.output
    assert "  1 rows: cluster: null" in result.output
    (tmp_path / "mapping.yaml").write_text(MAPPING.replace("0.3", "0.4"))
    result = import_()
    assert result.exit_code == 0
    assert f"{tmp_path / 'log'}: wrote span 0 to 1" in result.output
    assert "span 0: 2 rows" in result.output
    assert complete_spans(tmp_path / "log") == [0, 1]


def test_a_second_run_says_that_nothing_is_new(import_, tmp_path):
    (tmp_path / "mapping.yaml").write_text(MAPPING.replace("0.3", "0.4"))
    import_()
    result = import_()
    assert result.exit_code == 0
    assert "no new span: the log already has 2 spans" in result.output
