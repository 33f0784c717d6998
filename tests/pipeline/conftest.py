"""Writes the span records and artifact files of a run, which observation and `rankdistill status` read."""

import dataclasses
import json
from pathlib import Path

import pyarrow as pa
import pytest

from components.evaluation.candidate import CandidateVerdict
from components.evaluation.push_gate import GateVerdict
from components.label_store.certificate import Certificate
from components.span_records import RELABELLED, TEACHER, SpanRecord, write_record
from components.transforms.join_report import JoinReport, write_report
from eventlog.kuairand.columns import LOG_SCHEMA
from eventlog.spans import write_span
from pipeline.config_file import load_deployment
from pipeline.paths import RunPaths

SURFACE = "tab_1"
ROLES = ("student", "control")


class Run:
    """A root whose log has spans 0 to 9 and whose burn-in ends with span 4."""

    def __init__(self, folder):
        self.deployment = load_deployment(
            Path(__file__).parents[2] / "pipeline" / "configs" / "kuairand.yaml"
        )
        self.paths = RunPaths(root=folder / "root", events=folder / "log")
        for span in range(10):
            row = {
                "example_id": "a", "event_time_ms": 1, "impression_span": span, "surface": SURFACE,
                "cluster_id": "u",
            }  # fmt: skip
            write_span(self.paths.events, span, [pa.Table.from_pylist([row], schema=LOG_SCHEMA)])

    def skip(self, branch, span, reason):
        write_record(self.paths.records, branch, SpanRecord(span=span, skipped=reason))

    def teacher(
        self, span, *, discarded=None, labels=None, anomalies=None, branch=TEACHER, version=0, **slots
    ):
        """`discarded`: the reason; `labels`: file name → JSON; `anomalies`: a TFDV proto."""
        slots |= {"labels": self.folder(span, branch, "labels", **(labels or certificate_files(span)))}
        if branch == TEACHER:
            slots["teacher_blessing"] = self.blessing(span, branch, "teacher", discarded)
        if anomalies is not None:
            slots["anomalies"] = self.folder(span, branch, "anomalies")
            split = Path(slots["anomalies"], "Split-train")
            split.mkdir()
            (split / "SchemaDiff.pb").write_bytes(anomalies.SerializeToString())
        write_record(self.paths.records, branch, SpanRecord(span=span, version=version, slots=slots))

    def relabel(self, span, version, labels=None):
        self.teacher(span, branch=RELABELLED, version=version, labels=labels)

    def surface(
        self,
        span,
        branch=SURFACE,
        *,
        report=None,
        discarded=None,
        roles=ROLES,
        gate=None,
        figures=None,
        **slots,
    ):
        """`discarded`: role → reason; `roles`: roles that trained; `gate`: push, rests_on, reason."""
        slots["examples"] = self.folder(span, branch, "examples")
        report = report or JoinReport(
            surface=branch, fresh_rows=200, labelled_fresh_rows=199, matured_rows=50
        )
        write_report(report, slots["examples"], [set_id(span)])
        for role in roles:
            slots[f"{role}_blessing"] = self.blessing(span, branch, role, (discarded or {}).get(role))
        if gate is not None:
            push, rests_on, reason = gate
            verdict = GateVerdict(push, reason, rests_on, None, None, [], 0)
            slots["gate"] = self.folder(span, branch, "gate", gate=dataclasses.asdict(verdict))
        slots["figures"] = self.folder(span, branch, "figures", figures=figures or {})
        write_record(self.paths.records, branch, SpanRecord(span=span, slots=slots))

    def blessing(self, span, branch, role, discarded):
        verdict = CandidateVerdict(discarded is None, discarded or "finite", None, None, {}, {})
        return self.folder(span, branch, f"{role}_blessing", verdict=dataclasses.asdict(verdict))

    def folder(self, span, branch, slot, **files):
        folder = self.paths.root / "artifacts" / branch / slot / str(span)
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / f"{name}.json").write_text(json.dumps(content))
        return str(folder)


def set_id(span):
    return f"big.abc-{span - 1:05d}.span-{span:05d}.0.0123456789ab"


def certificate_files(span, **fields):
    """The certificate file of a published label set; `fields` replace its fields."""
    certificate = Certificate(
        set_id=set_id(span), teacher="big", teacher_version=f"abc-{span - 1:05d}", span=span, span_version=0,
        revision=1, feature_version="abc", rows=300, coverage={}, label_age_spans=1, seconds=1.0,
        event_ms=0, ready_ms=0, labelled_ms=0, published_ms=0,
    )  # fmt: skip
    return {"certificate": dataclasses.asdict(dataclasses.replace(certificate, **fields))}


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)
