from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eventlog import parquet_files
from eventlog.errors import BadInput

READERS = {
    "read_table": parquet_files.read_table,
    "parse_table": lambda file: parquet_files.parse_table(file.read_bytes(), str(file)),
    "open_file": parquet_files.open_file,
    "open_dataset": lambda file: parquet_files.open_dataset([str(file)]),
    "open_dataset with a schema": lambda file: parquet_files.open_dataset(
        [str(file)], pa.schema([("number", pa.int64())])
    ),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "span=3" / "part.parquet"
    path.parent.mkdir()
    parquet_files.write_table(pa.table({"number": [1, 2], "text": ["a", None]}), path)
    return path


def test_plain_pyarrow_below_14_runs_the_code_of_a_crafted_file(file, craft, run_alone) -> None:
    """The control of all other tests: without the fix, the crafted file does run code in such a pyarrow."""
    marker = craft(file)
    run_alone("import sys, pyarrow.parquet as pq; pq.read_table(sys.argv[1])", file)
    assert marker.exists() == (int(pa.__version__.partition(".")[0]) < 14)


@pytest.mark.parametrize("read", ["read_table(file)", "open_file(file)", "open_dataset([file])"])
def test_the_import_of_the_module_disables_the_code(file, craft, run_alone, read) -> None:
    marker = craft(file)
    script = f"import sys; from eventlog.parquet_files import *; file = sys.argv[1]; {read}"
    process = run_alone(script, file)
    last_line = process.stderr.splitlines()[-1]
    assert process.returncode == 1
    assert last_line.startswith(
        f"eventlog.errors.BadInput: {file}: data with code: expected columns of plain"
    )
    assert not marker.exists()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("metadata", [None, b"", b"garbage", b"c\xff\n\xff\n.", b"I12x\n."])
def test_a_crafted_file_is_refused_in_one_line_without_its_bytes(file, craft, reader, metadata) -> None:
    marker = craft(file, metadata)
    with pytest.raises(BadInput) as refused:
        READERS[reader](file)
    assert str(refused.value) == (
        f"{file}: data with code: expected columns of plain Arrow types, got a column of pickled Python "
        "code, which was not run. Find out who wrote this data, and write it again from its source."
    )
    assert refused.value.__suppress_context__
    assert not marker.exists()


def test_a_column_inside_a_struct_is_refused(tmp_path) -> None:
    extension = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": b"N."}
    inner = pa.field("inner", pa.int64(), metadata=extension)
    table = pa.table({"outer": pa.array([{"inner": 1}], pa.struct([inner]))})
    pq.write_table(table, tmp_path / "file")
    with pytest.raises(BadInput, match="data with code"):
        parquet_files.read_table(tmp_path / "file")


def test_a_later_file_of_a_dataset_is_refused_in_the_process_that_goes_on(file, craft, run_alone) -> None:
    later = file.with_name("part-1.parquet")
    later.write_bytes(file.read_bytes())
    craft(later)
    script = """
import sys
from eventlog.parquet_files import open_dataset
try:
    open_dataset(sys.argv[1:]).to_table()
except ValueError as error:
    print(error)
"""
    process = run_alone(script, file, later)
    assert process.stdout.startswith(f"{later}: data with code")
    assert process.returncode == 0, "a refusal in a thread of pyarrow 10 aborts the process at its end"


@pytest.mark.parametrize("reader", READERS)
def test_other_faults_keep_their_error(file, reader) -> None:
    file.write_bytes(b"PAR1 and no Parquet")
    with pytest.raises((pa.ArrowException, OSError)) as failed:
        READERS[reader](file)
    assert not isinstance(failed.value, BadInput)


def test_an_error_of_the_block_itself_keeps_its_text() -> None:
    with pytest.raises(RuntimeError, match="another fault"), parquet_files.code_refused("here"):
        raise RuntimeError("another fault")


def test_a_plain_file_reads_as_it_was_written(file) -> None:
    rows = {"number": [1, 2], "text": ["a", None]}
    assert parquet_files.read_table(file).to_pydict() == rows
    assert parquet_files.read_table(file, ["text"]).to_pydict() == {"text": ["a", None]}
    assert parquet_files.parse_table(file.read_bytes(), "file").to_pydict() == rows
    assert parquet_files.open_file(file).read().to_pydict() == rows
    assert parquet_files.open_dataset([str(file)] * 2).to_table().to_pydict()["number"] == [1, 2, 1, 2]


def test_an_unknown_extension_type_reads_as_its_storage(tmp_path) -> None:
    extension = {"ARROW:extension:name": "some.other", "ARROW:extension:metadata": b"x"}
    table = pa.table([[1]], schema=pa.schema([pa.field("number", pa.int64(), metadata=extension)]))
    pq.write_table(table, tmp_path / "file")
    assert parquet_files.read_table(tmp_path / "file").to_pydict() == {"number": [1]}


@pytest.mark.parametrize("name", ["a b", "ü", 'q"x', "{a,b}"])
def test_a_relative_path_may_have_any_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    table = pa.table({"number": [1, 2]})
    parquet_files.write_table(table, Path(name, "one.parquet"))
    with parquet_files.ParquetWriter(f"{name}/two.parquet", table.schema) as writer:
        writer.write_table(table)
    for file in ("one", "two"):
        assert parquet_files.read_table(tmp_path / name / f"{file}.parquet") == table
