import pytest

from eventlog.errors import BadInput
from eventlog.tables.mapping import LabelSettings, TimeSettings, Window
from pipeline.mapping_file import load_mapping

GOOD = """
time: {value: seconds, unit: s}
spans: {by: day}
surface: "'list'"
cluster: user
labels: {liked: {value: "rating >= 4"}, ltv: {value: sum(rating), over: {spans: 2, per: user}}}
features: {user: {value: user, type: text}}
"""


@pytest.fixture
def load(tmp_path):
    def load_text(text):
        path = tmp_path / "mapping.yaml"
        path.write_text(text)
        return load_mapping(path)

    return load_text


def test_a_mapping_is_read_with_its_defaults(load):
    mapping = load(GOOD)
    assert mapping.time == TimeSettings(value="seconds", unit="s")
    assert mapping.labels["ltv"] == LabelSettings(value="sum(rating)", over=Window(spans=2, per="user"))
    assert mapping.labels["ltv"].age == 3
    assert (mapping.source.files, mapping.duplicates, mapping.max_dropped) == ("*", "drop", 0.01)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("surface:", "surfce:", r"mapping\.yaml: surfce: unknown key: .* Did you mean 'surface'\?"),
        ("unit: s", "unt: s", r"time\.unt: unknown key: .* Did you mean 'unit'\?"),
        ("type: text", "typ: text", r"features\.user\.typ: unknown key: .* Did you mean 'type'\?"),
        ("unit: s", "unit: m", r"time\.unit: wrong value: expected 's', 'ms', 'us' or 'ns', got 'm'"),
        ("cluster: user", "", r"cluster: wrong value: expected a value, got nothing"),
        ("cluster: user", "cluster: 3", r"cluster: wrong value: expected a valid string, got 3"),
        ("by: day", "by: day, count: 5", "spans needs either by or count"),
        ("by: day", "count: 0", "count must be at least 1, got 0"),
        ("by: day", "count: 5, newest: filling", "value and newest are for spans by a period"),
        ("unit: s", "unit: s, zone: UTC", "unit is for numbers, zone and format are"),
        ("over: {spans: 2", "delay: 3, over: {spans: 2", r"has the delay over\.spans \+ 1, remove delay"),
        ("spans: 2", "spans: 0", "spans must be between 1 and 1000, got 0"),
        ("features: {user:", "features: {surface:", "surface is no name of a feature"),
        ("features: {user:", "features: {Surface:", "Surface is no name of a feature"),
        ("cluster: user", "cluster: user\ntables: {source: {key: a}}", "source is no name of a side table"),
        ("features: {user:", "features: {label_x:", "label_x is no name of a feature"),
        ("features: {user:", "features: {__x:", "features: '__x' is no name"),
        ("features: {", "features: {User: {value: user, type: text}, ", "'User' and 'user' differ only"),
        ("cluster: user", "cluster: user\nmax_dropped: 1.5", "max_dropped must be between 0 and 1, got 1.5"),
        ("cluster: user", "cluster: user\nexample_id: []", "example_id must name a column"),
        ("cluster: user", "cluster: user\nnulls: {drop: [usr]}", "nulls.drop names 'usr', expected one of"),
        ("cluster: user", "cluster: user\nsource: {header: false}", "header: false needs columns"),
        ("cluster: user", "cluster: user\nsource: {delimiter: '-----'}", "delimiter must have 1 to 4"),
        ("cluster: user", "cluster: user\nsource: {quote: '::'}", "quote must be one character or empty"),
        ("cluster: user", "cluster: user\nsource: {columns: {a: int}}", r"source\.columns\.a: wrong value: "),
    ],
)  # fmt: skip
def test_a_wrong_mapping_is_refused_in_one_line(load, before, after, message):
    assert before in GOOD
    with pytest.raises(BadInput, match=message):
        load(GOOD.replace(before, after))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"none\.yaml: no such mapping: expected a YAML file, got no file"):
        load_mapping(tmp_path / "none.yaml")
