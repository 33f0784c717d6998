import pytest

from eventlog.errors import BadInput
from pipeline.yaml_file import read_mapping

NINE = {n: ", ".join([f"*a{n - 1}"] * 9) for n in range(1, 9)}
BOMB = "\n".join(["a0: &a0 [x, x, x]", *(f"a{n}: &a{n} [{aliases}]" for n, aliases in NINE.items())])


@pytest.fixture
def read(tmp_path):
    def read(content):
        path = tmp_path / "c.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_mapping(path)

    return read


def test_a_mapping_is_read(read):
    assert read("a: 1\nb: {c: [x, 'no']}\n") == {"a": 1, "b": {"c": ["x", "no"]}}


def test_dates_stay_text_and_numbers_need_no_point(read):
    assert read("a: 2022-04-08\nb: 1e-3\nc: -2E+4\nd: e-3\n") == {
        "a": "2022-04-08", "b": 0.001, "c": -20000.0, "d": "e-3",
    }  # fmt: skip


def test_digits_with_colons_stay_text(read):
    """YAML 1.1 reads them as a number of base 60."""
    assert read("a: 4:30\nb: 0:4\nc: 12:30:45.5\n") == {"a": "4:30", "b": "0:4", "c": "12:30:45.5"}


def test_anchors_and_merged_mappings_are_read(read):
    assert read("a: &a {x: 1}\nb: {<<: *a, y: 2}\n")["b"] == {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"key 'a' twice, in lines 1 and 3; remove one"),
        ("s:\n  x: 1\n  y: 2\n  x: 3\n", r"key 'x' twice, in lines 2 and 4"),
        ("s:\n  no: {}\n  on: {}\n", r"key no in line 2 is no text; write it in quotes"),
        ("1: a\n", r"key 1 in line 1 is no text"),
        ("- a\n", r"expected YAML with one mapping, got list"),
        ("", r"got NoneType"),
        ("a: [1\n", r"expected YAML with one mapping"),
        ("a: 1\n---\nb: 2\n", r"expected a single document"),
        ("a: !!python/object/apply:os.system [ls]\n", r"could not determine a constructor"),
        ("a: !!set {b}\n", r"expected text, numbers, lists and mappings, got Object of type set"),
        ("a: &a [*a]\n", r"got more than 100000 values"),
        (BOMB, r"got more than 100000 values, counted with aliases; write fewer aliases"),
        (b"# caf\xe9\na: 1\n", r"expected UTF-8 text, got byte 0xe9 at position 5. Save the file as UTF-8"),
    ],
)
def test_what_yaml_reads_in_another_way_is_one_line(read, content, message):
    with pytest.raises(BadInput, match=message) as caught:
        read(content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("!!timestamp 2020-13-45", "timestamp"), ("!!timestamp x", "timestamp"), ("!!int x", "int"),
        ('!!int ""', "int"),
        ("!!bool maybe", "bool"), ("!!float x", "float"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_its_type_is_refused_with_its_line(tmp_path, text, kind):
    (tmp_path / "a.yaml").write_text(f"name: demo\nvalue: {text}\n")
    with pytest.raises(
        BadInput, match=rf"not a configuration: .* in line 2 is no {kind}; write text in quotes"
    ):
        read_mapping(tmp_path / "a.yaml")
