"""Any configuration is loaded, or refused in one line."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import strategies as st

from pipeline.config_file import load_deployment
from tests.conftest import REPOSITORY
from tests.fuzz.mutation import Case, mutated
from tests.fuzz.running import accepted, corpus, run_case, run_examples

TARGET = "configuration"
FILE = "deployment.yaml"
CONFIGS = REPOSITORY / "pipeline" / "configs"
SHIPPED = [path.read_bytes() for path in sorted(CONFIGS.glob("*.yaml"))]
DOCUMENT = yaml.safe_load((CONFIGS / "demo.yaml").read_text())
TOKENS = [
    b"!!binary ", b"!!python/object:os.system ", b"!!set {a}", b"!!timestamp ", b"!!int ", b"!!float ",
    b"!!bool ", b"2020-13-45", b"*a", b"&a ", b"<<: ", b"? ",
    b"- ", b": ", b"{", b"}", b"[", b"]", b"|\n", b">-\n", b"---\n", b"...\n", b"%YAML 9.9\n", b"#", b"'",
    b'"',    b"\t", b"\\", b"0x1F", b"1e999", b".nan", b"-.inf", b"1_000", b"12:30:45", b"2020-01-01",
    b"~", b"no",
    b"extends: demo.yaml\n", b"extends: deployment.yaml\n", b"extends: [", b"schema: shipped:",
    "\u2028".encode(), "\ufeff".encode(), b"\xed\xa0\x80", b'"\\ud800"', b'"\\0"', b"[" * 50, b"{a: " * 50,
]  # fmt: skip
TEXTS = [
    "", "0:4", "5:9", "9:5", "0:99999999999999999999", "click", "ltv", "user_id", "tab_1", "teacher", "..",
    "/", "delta:", "delta:x", "delta:///a?b", "bigquery://p/d?staging=gs://b/p", "bigquery:", "bigquery://[",
    "bigquery://p/d?retention_days=x", "a.b.c", "--runner=DirectRunner", "--runner", "shipped:nothing",
    "shipped:impressions.pbtxt", "auxiliary", "binary", "stop", "last", "p.d.t", "p:d.t", "a\rb", "a\u2028b",
    "\x1b[1m", "\u0661", "x" * 300, "demo.yaml",
]  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.integers()
    | st.sampled_from([2**31, 2**63, 2**64, 10**400, -1, 10**9 + 1])
    | st.floats()
    | st.sampled_from(TEXTS)
    | st.text(max_size=8)
    | st.dates()
    | st.binary(max_size=4)
)
KEYS = st.sampled_from(TEXTS) | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=6,
)


def keys_below(value: Any) -> set[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set(value if isinstance(value, dict) else ()).union(*map(keys_below, inner))


KNOWN_KEYS = sorted(
    keys_below(DOCUMENT)
    | {"extends", "label_store", "fleet", "join", "events_table", "spans_table", "rows_per_shard", "steps"}
    | {
        "beam_pipeline_args",
        "cluster",
        "validation",
        "label_checks",
        "labels",
        "first_spans",
        "without_labels",
    }
    | {"control_every", "label_with", "alpha", "tfma", "beam", "cpus", "gpus", "image", "resamples", "beta"}
)


@st.composite
def edited_documents(draw: st.DrawFn) -> bytes:
    """The shipped document with a few keys replaced, removed, added or moved."""
    document = copy.deepcopy(DOCUMENT)
    for _ in range(draw(st.integers(1, 4))):
        if not document:
            break
        place: Any = document
        while draw(st.integers(0, 3)):
            inner = list(place.values()) if isinstance(place, dict) else place
            inner = [each for each in inner if isinstance(each, dict | list) and each]
            if not inner:
                break
            place = draw(st.sampled_from(inner))
        index = draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
        edit = draw(st.sampled_from(["replace", "replace", "remove", "add", "move"]))
        if edit == "replace":
            place[index] = draw(VALUES)
        elif edit == "remove":
            del place[index]
        else:
            value = draw(VALUES) if edit == "add" else place[index]
            if isinstance(place, dict):
                place[draw(st.sampled_from(KNOWN_KEYS) | KEYS)] = value
            else:
                place.append(value)
    return yaml.safe_dump(document, allow_unicode=draw(st.booleans())).encode("utf-8", "surrogatepass")


CASES = st.fixed_dictionaries(
    {
        FILE: st.binary(max_size=60)
        | st.sampled_from(SHIPPED).flatmap(lambda content: mutated(content, TOKENS))
        | edited_documents()
    }
)


def check(case: Case, folder: Path) -> None:
    (folder / "demo.yaml").write_bytes((CONFIGS / "demo.yaml").read_bytes())
    (folder / FILE).write_bytes(case[FILE])
    deployment = accepted(load_deployment, folder / FILE)
    assert {path.name for path in folder.iterdir()} == {"demo.yaml", FILE}
    if deployment is None:
        return
    assert deployment.settings_hash
    assert deployment.teacher_job()
    for surface in deployment.surfaces:
        deployment.student_job(surface)
        deployment.control_job(surface)
        deployment.join_settings(surface)
        deployment.first_span(surface)


@pytest.mark.parametrize("case", corpus(TARGET))
def test_a_saved_configuration_is_loaded_or_refused_in_one_line(case: Case) -> None:
    run_case(case, check)


def test_any_configuration_is_loaded_or_refused_in_one_line() -> None:
    run_examples(TARGET, CASES, check, examples=25)
