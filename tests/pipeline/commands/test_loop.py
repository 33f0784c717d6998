import shutil

import pytest
import yaml

from components.span_records import BURN_IN, SpanRecord, write_record
from eventlog.spans import parse_range
from rankdistill.command_line import main


def test_run_prints_the_errors_of_all_surfaces(small_document, small_log, tmp_path, capfd, monkeypatch):
    """No row of the log has one of the two surfaces, so neither burn-in can begin."""
    document = small_document | {"surfaces": {"tab_8": {}, "tab_9": {}}}
    config, log, root = tmp_path / "config.yaml", tmp_path / "log", tmp_path / "root"
    config.write_text(yaml.safe_dump(document))
    burn_in = parse_range(document["burn_in"])
    for span in range(burn_in.stop):
        shutil.copytree(small_log / f"span={span}", log / f"span={span}")
    model = root / "teacher"
    model.mkdir(parents=True)
    record = SpanRecord(span=burn_in.stop - 1, slots={"teacher": str(model)})
    write_record(str(root / "records"), BURN_IN, record)
    command = ["run", "--config", config, "--events", log, "--root", root]
    monkeypatch.setattr("sys.argv", ["rankdistill", *map(str, command)])

    with pytest.raises(SystemExit) as stopped:
        main()

    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("rankdistill: ")]
    assert stopped.value.code == 2
    assert [("tab_8" in line, "tab_9" in line) for line in lines] == [(True, False), (False, True)], lines
