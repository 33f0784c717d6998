import pytest

from testing import bigquery_server
from testing.bigquery_server import complete_command, free_ports, stamp_name


def test_all_ports_of_one_call_differ():
    # Ports that are probed one after another repeat: among 500 with a probability of about 99 %.
    assert len(set(free_ports(500))) == 500


@pytest.mark.parametrize(
    ("name", "value"), [("PYTHON", "3.14"), ("_OVERRIDES", "duckdb==2.0.0\n"), ("PACKAGES", ("other==1",))]
)
def test_a_change_of_python_or_packages_needs_a_new_installation(monkeypatch, name, value):
    before = stamp_name()
    monkeypatch.setattr(bigquery_server, name, value)
    assert stamp_name() != before


def test_only_the_first_separator_is_dropped_from_a_command():
    words = ["--", "run", "--label-store", "{store}", "--", "x"]
    assert complete_command(words, "bigquery://p/d") == ["run", "--label-store", "bigquery://p/d", "--", "x"]
    assert complete_command(["run", "--"], "bigquery://p/d") == ["run", "--"]
    assert complete_command([], "bigquery://p/d") == []
