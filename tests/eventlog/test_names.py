import pytest

from eventlog.errors import BadInput
from eventlog.names import MAX_NAME_LENGTH, name_fault, path_fault, require_safe_path

RESERVED = ("teacher", "bootstrap")


@pytest.mark.parametrize("name", ["tab_1", "a", "Home-2", "9", "x" * MAX_NAME_LENGTH])
def test_a_safe_name_has_no_fault(name):
    assert name_fault(name, RESERVED) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "[x]",
        "-x",
        "_x",
        "a b",
        "a\n",
        "übersicht",
        "a%",
        "x" * (MAX_NAME_LENGTH + 1),
    ],
)
def test_an_unsafe_name_is_a_fault(name):
    fault = name_fault(name)
    assert (
        fault is not None
        and repr(name) in str(fault)
        and str(fault).startswith("expected at most 40 letters")
    )


@pytest.mark.parametrize("name", ["teacher", "bootstrap", "bootstrap-tab_1"])
def test_a_reserved_name_is_a_fault_and_one_that_only_begins_like_it_is_none(name):
    assert "another name than teacher, bootstrap" in str(name_fault(name, RESERVED))
    assert name_fault("teachers", RESERVED) is None


def test_an_id_may_be_longer_than_a_name():
    assert name_fault("x" * 200, max_length=None) is None


@pytest.mark.parametrize("path", ["runs/a b", "/x/y_z.yaml", "ü/ß", "a~b", "x{y}"])
def test_a_path_with_usual_characters_has_no_fault(path):
    assert path_fault(path) is None


@pytest.mark.parametrize("character", list("[]*?%#\\\n\t\x00"))
def test_a_path_with_a_character_that_is_read_in_another_way_is_a_fault(character):
    with pytest.raises(BadInput, match=r"^--root: unsafe path: expected a path without control characters"):
        require_safe_path(f"runs/a{character}b", "--root")


def test_a_relative_path_below_an_unsafe_folder_is_a_fault(tmp_path, monkeypatch):
    folder = tmp_path / "run[1]"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert path_fault("root") is None
    with pytest.raises(BadInput, match=r"got '\[' in "):
        require_safe_path("root", "--root")


@pytest.mark.parametrize("path", ["s3://bucket/x", "gs:x", "file:///x"])
def test_a_uri_is_no_local_path(path):
    assert "expected a local path" in str(path_fault(path))


def test_an_empty_path_is_a_fault():
    assert "expected the name of a folder or file, got nothing" in str(path_fault(""))
