"""The benchmark of the import runs and prints its BENCH line; its speed is not tested."""

import json

import pytest

from benchmarks.import_table import main


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--shuffled"]])
def test_the_last_line_compares_the_import_with_a_copy(capsys, options):
    main(["--rows", "20000", *options])
    word, _, document = capsys.readouterr().out.splitlines()[-1].partition(" ")
    report = json.loads(document)
    assert (word, report["name"], report["rows"]) == ("BENCH", "import_table", 20_000)
    assert report["ratio"] > 0 and report["peak_mb"] > 0
