"""Every kind of bad input, at every command: one line, exit code 2, and nothing of a root changes.

`tests/test_bad_input_of_run.py` has faults that a running pipeline finds.
"""

import shutil
import socket

import numpy as np
import pyarrow as pa
import pytest

from components.span_records import BURN_IN, TEACHER, SpanRecord, write_record
from pipeline.config_file import load_deployment
from rankdistill.command_line import main
from tests.bad_input_world import World


@pytest.fixture
def world(tmp_path, clean_log, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return World(tmp_path, clean_log)


CHECK = ("config", "check", "{config}")
CHECK_LOG = (*CHECK, "--events", "{log}")
EVENTS = ("events", "check", "--events", "{log}")
RUN = ("run", "--config", "{config}", "--events", "{log}", "--root", "{root}")
SERVE = ("serve-loop", *RUN[1:])
FLEET = ("fleet", *RUN[1:])
BACKFILL = ("backfill", *RUN[1:])
REPORT = ("report", *RUN[1:], "--out")


def config(**changes):
    return lambda world: world.configure(**changes)


def text(content):
    return lambda world: world.config.write_bytes(content)


def schema(before, after):
    def change(world):
        content = world.schema.read_text()
        assert before in content
        world.schema.write_text(content.replace(before, after, 1))

    return change


def column(name, values, span=2):
    return lambda world: world.set_column(name, values, span)


def first(value, kind):
    """The column with another first value."""
    return lambda name: lambda table: pa.array([value, *table[name].to_pylist()[1:]], kind)


def floats(table, name, value):
    values = table[name].to_numpy().copy()
    values[0] = value
    return pa.array(values, pa.float32(), from_pandas=False)


def latin_1(table):
    raw = pa.array([b"caf\xe9"] * table.num_rows, pa.binary())
    return pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())


def nothing(world):
    pass


def unreadable(world):
    world.part().write_bytes(world.part().read_bytes()[:-50])


def no_parquet(world):
    world.part().write_text("user_id,video_id\n1,2\n")


def padded(world):
    (world.log / "span=2").rename(world.log / "span=00002")


def gap(world):
    shutil.rmtree(world.log / "span=1")


def no_spans(world):
    shutil.rmtree(world.log)
    world.log.mkdir()


def moved(world):
    write_record(str(world.root / "records"), BURN_IN, SpanRecord(span=3, slots={"teacher": "/gone/teacher"}))


def copied(world):
    """A root whose record names an artifact of the original, which both have."""
    artifacts = [
        root / "artifacts" / "teacher" / "3" for root in (world.root.parent / "original", world.root)
    ]
    for artifact in artifacts:
        artifact.mkdir(parents=True)
    slots = {"teacher": str(artifacts[0])}
    write_record(str(world.root / "records"), BURN_IN, SpanRecord(span=3, slots=slots))


def without_records(world):
    shutil.rmtree(world.root / "records")
    (world.root / "deployment.json").unlink()


def broken_record(world):
    (record,) = (world.root / "records" / BURN_IN).iterdir()
    record.write_text("{")


def lost_shard(world):
    (file,) = (world.root / "labels").glob("label_set=*/*.parquet")
    file.unlink()


def other_version(world):
    (world.root / "deployment.json").write_text('{"from": "another version"}')


def skipped_span(world):
    record = SpanRecord(span=90, skipped="late: still missing when 2 later spans were complete")
    write_record(str(world.root / "records"), TEACHER, record)


def newer_push(world):
    (world.root / "serving" / "tab_1" / "99999999999").mkdir()


def no_label_of_ltv(world):
    world.set_column("label_ltv", lambda table: pa.nulls(table.num_rows, pa.float32()), span=3)


def several_values(world):
    content = world.schema.read_text()
    start = content.index('name: "user_id"')
    world.schema.write_text(content[:start] + content[start:].replace("max: 1 }", "max: 9 }", 1))


IMPORT = ("events", "import", "--mapping", "mapping.yaml", "--source", "table.csv", "--out", "out")


def table(before="", after="", row="1,4,1709251200"):
    """A mapping with a change, and a table with one row."""

    def write(world):
        text = """
            time: {value: seconds, unit: s}
            spans: {by: day}
            surface: "'list'"
            cluster: user
            source: {columns: {rating: integer, seconds: integer}}
            labels: {liked: {value: rating >= 4}}
            features: {user: {value: user, type: text}}
            """
        assert before in text
        (world.folder / "mapping.yaml").write_text(text.replace(before, after) if before else text)
        (world.folder / "table.csv").write_text(f"user,rating,seconds\n{row}\n")

    return write


def csv_without_columns(world):
    (world.folder / "csv").mkdir()
    for name in ("log_standard_pure", "user_features_pure", "video_features_basic_pure"):
        (world.folder / "csv" / f"{name}.csv").write_text("user_id\n1\n")


KINDS = [
    # The configuration file.
    ("no file", (*CHECK[:2], "none.yaml"), nothing, ["no such configuration", "got no file 'none.yaml'"]),
    ("a folder", (*CHECK[:2], "log"), nothing, ["File 'log' is a directory"]),
    ("another encoding", CHECK, text(b"# caf\xe9\nname: demo\n"), ["deployment.yaml", "UTF-8"]),
    ("an empty file", CHECK, text(b""), ["deployment.yaml", "mapping"]),
    ("a list", CHECK, text(b"- a\n- b\n"), ["deployment.yaml", "mapping"]),
    ("not YAML", CHECK, text(b"name: [a\nseed: 1\n"), ["deployment.yaml", "line"]),
    ("a key twice", CHECK, text(b"name: a\nseed: 1\nname: b\n"), ["key 'name' twice, in lines 1 and 3"]),
    ("a key that is no text", CHECK, text(b"name: a\nsurfaces: {no: {}}\n"), ["key no in line 2 is no text"]),
    ("a set", CHECK, text(b"name: !!set {a}\n"), ["expected text, numbers, lists and mappings"]),
    ("unknown key", CHECK, config(sed=3), ["sed: unknown key", "Did you mean 'seed'?"]),
    ("misspelt key", CHECK, config(seed=..., sead=3), ["sead: unknown key", "Did you mean 'seed'?"]),
    ("missing key", CHECK, config(seed=...), ["seed: wrong value: expected a value, got nothing"]),
    ("wrong type", CHECK, config(seed="x"), ["seed: wrong value", "got 'x'"]),
    ("out of range", CHECK, config(rows_per_shard=0), ["rows_per_shard", "greater than or equal to 1"]),
    ("NaN", CHECK, config(evaluation={"margin": float("nan")}), ["evaluation.margin", "finite"]),
    ("not a range of spans", CHECK, config(burn_in="3"), ["burn_in", "A:B", "got '3'"]),
    ("unknown feature", CHECK, config(teacher__features=["user_di"]), ["did you mean 'user_id'?"]),
    ("unknown task", CHECK, config(student__distillation={"clik": {"strategy": "direct"}}), ["clik"]),
    ("no vocabulary", CHECK, config(features__hour={"kind": "id"}),
     ["features.hour: neither buckets nor a vocabulary", "string_domain of column hour"]),
    ("constant of another type", CHECK,
     config(features__hour={"kind": "id", "buckets": 24, "served_as": "5"}),
     ["served_as of another type than column hour", "expected INT, got '5'"]),
    ("extends a missing file", CHECK, text(b"extends: none.yaml\n"),
     ["extends: no such configuration", "none.yaml"]),
    ("extends itself", CHECK, text(b"extends: deployment.yaml\n"), ["a file extends itself"]),
    ("unsafe name", CHECK, config(surfaces={"../../out": {}}), ["surfaces", "'../../out'"]),
    ("reserved name", CHECK, config(surfaces={"teacher": {}}), ["surfaces", "teacher"]),
    ("long name", CHECK, config(name="a" * 60), ["expected at most"]),
    ("unknown runner", CHECK, config(beam_pipeline_args=["--runner=NoSuch"]),
     ["beam_pipeline_args", "NoSuch"]),
    ("foreign store", CHECK, config(label_store="delta:s3://bucket/x"), ["label_store", "s3://bucket/x"]),
    # The schema.
    ("no schema", CHECK, config(schema="none.pbtxt"), ["schema: no such schema", "none.pbtxt"]),
    ("not a schema", CHECK, schema("feature {", "featur {"), ["not a schema", "schema.pbtxt"]),
    ("missing column of the schema", CHECK, schema('"hour"', '"houre"'), ["no column hour", "'houre'?"]),
    ("no label in the schema", CHECK, schema('"label_like"', '"liked"'),
     ["no column label_like", "tasks.like"]),
    ("wrong type in the schema", CHECK, config(features__user_id={"kind": "number"}),
     ["wrong type of column user_id", "got BYTES"]),
    ("several values", CHECK, several_values,
     ["several values in column user_id", "one value"]),
    # The deployment against the log.
    ("no burn-in", CHECK_LOG, config(burn_in="3:9"), ["the burn-in needs span 4", "spans 0 to 3"]),
    ("surface without rows", CHECK_LOG, config(surfaces={"tab1": {}}),
     ["a surface without rows", "'tab_1'?"]),
    ("task without a label", CHECK_LOG, no_label_of_ltv, ["label_ltv"]),
    ("delayed task, short burn-in", CHECK_LOG, config(burn_in="0:1"), ["no label of task ltv", "burn_in"]),
    # The event log.
    ("no log", (*EVENTS[:3], "none"), nothing, ["none: no event log", "rankdistill events"]),
    ("no spans", EVENTS, no_spans, ["empty event log"]),
    ("a gap", EVENTS, gap, ["span gap", "no complete span 1"]),
    ("zero-padded span", EVENTS, padded, ["span=00002", "leading zeros", "span=2"]),
    ("empty span", EVENTS, lambda world: world.rewrite(lambda table: table[:0]), ["span=2", "empty span"]),
    ("torn file", EVENTS, unreadable, ["part-00000.parquet: unreadable file"]),
    ("another format", EVENTS, no_parquet, ["part-00000.parquet: unreadable file"]),
    ("missing column", EVENTS, lambda world: world.rewrite(lambda table: table.drop(["hour"])),
     ["missing column hour", "int64"]),
    ("column twice", EVENTS, lambda world: world.rewrite(lambda t: t.append_column("hour", t["hour"])),
     ["column hour twice"]),
    ("wrong type of column", EVENTS, column("hour", lambda table: table["hour"].cast(pa.string())),
     ["wrong type of column hour", "expected int64, got string"]),
    ("timestamp", EVENTS, column("event_time_ms", lambda t: t["event_time_ms"].cast(pa.timestamp("ms"))),
     ["wrong type of column event_time_ms", "timestamp[ms]"]),
    ("seconds", EVENTS, column("event_time_ms", lambda table: pa.array([1_650_000_000] * table.num_rows)),
     ["row 0", "not in milliseconds", "got 1650000000"]),
    ("null", EVENTS, column("surface", first(None, pa.string())("surface")),
     ["row 0: null in column surface"]),
    ("empty text", EVENTS, column("cluster_id", first("", pa.string())("cluster_id")),
     ["row 0: empty text in column cluster_id"]),
    ("null in a list", EVENTS, column("tag", first([None], pa.list_(pa.string()))("tag")),
     ["row 0: null inside a list of column tag"]),
    ("NaN in a feature", EVENTS, column("fans_user_num", lambda t: floats(t, "fans_user_num", np.nan)),
     ["row 0: NaN or infinity in column fans_user_num"]),
    ("infinite label", EVENTS, column("label_click", lambda t: floats(t, "label_click", np.inf)),
     ["row 0: NaN or infinity in column label_click"]),
    ("not UTF-8", EVENTS, column("video_id", latin_1), ["row 0: column video_id is not UTF-8"]),
    ("another span's row", EVENTS, column("impression_span", first(9, pa.int64())("impression_span")),
     ["row 0: column impression_span", "got 9"]),
    ("early label", EVENTS, column("label_ltv", lambda t: pa.array([1.0] * len(t), pa.float32())),
     ["row 0: column label_ltv has labels in fresh rows"]),
    ("no label of a task", EVENTS, column("label_like", lambda t: pa.nulls(len(t), pa.float32())),
     ["column label_like is null in all fresh rows"]),
    ("example twice", EVENTS, lambda world: world.rewrite(lambda t: pa.concat_tables([t, t[:1]])),
     ["duplicate example_id"]),
    # Other sources.
    ("no CSV", ("events", "kuairand", "--source", "log", "--out", "out"), nothing, ["log", "expected"]),
    ("CSV without columns", ("events", "kuairand", "--source", "csv", "--out", "out"), csv_without_columns,
     ["log_standard_pure.csv", "missing column"]),
    ("a negative number", ("events", "simulate", "--spans", "-1", "--examples-per-span", "5", "--seed", "1",
     "--out", "out"), nothing, ["--spans"]),
    ("no BigQuery table", ("events", "bigquery", "--store", "bigquery://project/data?staging=/staging",
     "--table", "x;y", "--spans", "0:1",
     "--out", "out"), nothing, ["x;y"]),
    ("events from a Delta store", ("events", "bigquery", "--store", "delta:/labels", "--table", "p.d.t",
     "--spans", "0:1", "--out", "out"), nothing, ["--store: not a BigQuery store", "got 'delta:/labels'"]),
    # The import of tables.
    ("no mapping", (*IMPORT[:3], "none.yaml", *IMPORT[4:]), nothing, ["none.yaml: no such mapping"]),
    ("no table", (*IMPORT[:5], "none.csv", *IMPORT[6:]), table(), ["none.csv: no source"]),
    ("a key of a mapping", IMPORT, table("cluster:", "cluser:"),
     ["cluser: unknown key", "Did you mean 'cluster'?"]),
    ("a column of a table", IMPORT, table("value: user", "value: usr"),
     ["features.user.value: unknown column", "Did you mean 'user'?"]),
    ("a type of a column", IMPORT, table("rating: integer, ", ""),
     ["labels.liked.value: wrong expression", "`columns`"]),
    ("an expression with a file", IMPORT,
     table("rating >= 4", "(SELECT max(content) FROM read_text('/etc/passwd'))"),
     ["labels.liked.value: expression not allowed", "subquery"]),
    ("a zone", IMPORT, table("by: day", "by: day, zone: Europe/Berln"), ["spans.zone: unknown zone"]),
    ("a line of a table", IMPORT, table(row="1,x,1709251200"),
     ["table.csv: too many rows are dropped", "100.00 %"]),
    ("seconds as milliseconds", IMPORT, table("unit: s", "unit: ms"),
     ["table.csv: too many rows are dropped"]),
    ("a row without a user", IMPORT, table(row=",4,1709251200"),
     ["table.csv: span", "too many rows are dropped"]),
    ("no label", IMPORT, table(row="1,,1709251200"),
     ["out/span=0: column label_liked is null in all fresh rows"]),
    ("a log of another tool", (*IMPORT[:-1], "log"), table(), ["log: not an imported log"]),
    # Label stores.
    ("no store", ("labels", "ls", "--store", "delta:none"), nothing, ["no label store", "delta:none"]),
    ("not a store", ("labels", "gc", "--store", "delta:log", "--dry-run"), nothing, ["no label store"]),
    ("foreign scheme", ("labels", "ls", "--store", "s3://bucket/x"), nothing, ["s3", "delta:"]),
    ("unknown set", ("labels", "show", "--store", "{store}", "big.7"), nothing,
     ["no published set", "'big.7'"]),
    ("lost shard", ("labels", "diff", "--store", "{store}", "{set_id}", "{set_id}"), lost_shard,
     ["lost a file"]),
    ("NaN as an age", ("labels", "gc", "--store", "{store}", "--grace-hours", "nan"), nothing,
     ["finite number"]),
    # Loops.
    ("nonsense spans", (*RUN, "--spans", "five"), nothing, ["not a range of spans", "got 'five'"]),
    ("unsafe path", (*RUN[:-1], "out[1]"), nothing, ["unsafe path", "'['"]),
    ("a root below a file", (*RUN[:-1], "deployment.yaml/root"), nothing, ["the file system refuses"]),
    ("a store that is none", (*RUN, "--label-store", "dleta:labels"), nothing, ["dleta", "delta"]),
    ("a changed configuration", RUN, config(teacher__name="bigger", name="other"),
     ["cannot take these changes", "name 'other' instead of 'demo'", "teacher.name 'bigger'"]),
    ("a root of another version", RUN, other_version, ["deployment.json", "cannot be read"]),
    ("a moved root", RUN, moved, ["the root was moved, or lost an artifact", "/gone/teacher"]),
    ("a copied root", RUN, copied, ["the root was copied", "original/artifacts/teacher/3"]),
    ("a copied root of a report", (*REPORT, "p.html"), copied, ["the root was copied"]),
    ("a mistyped root of a backfill", ("backfill", *RUN[1:-1], "typo", "--spans", "3:3"), nothing, ["typo"]),
    ("a teacher's root for a teacher", (*SERVE, "--teacher-root", "root"), nothing,
     ["--teacher-root is for a loop without the teacher"]),
    ("a moved root of a backfill", (*BACKFILL, "--spans", "3:3"), moved, ["the root was moved"]),
    ("another deployment of a report", (*REPORT, "p.html"), config(name="other"),
     ["the root of another deployment"]),
    ("another deployment of a status", ("status", *RUN[1:]), config(name="other"), ["expected name: demo"]),
    ("a range of a new root", (*RUN, "--spans", "50:60"), without_records, ["span gap", "got 50"]),
    ("a store without a table", (*RUN, "--label-store", "bigquery://p/d"), nothing, ["bigquery://p/d"]),
    ("a folder that is no root", ("status", *RUN[1:-1], "log"), nothing,
     ["no run", "a folder without records of spans"]),
    ("a page over a configuration", (*REPORT, "{config}"), nothing, ["a file that is not an HTML page"]),
    ("a page in a file", (*REPORT, "{config}/p.html"), nothing, ["the file system refuses"]),
    ("a page below /proc", (*REPORT, "/proc/none/p.html"), nothing, ["the file system refuses"]),
    ("a root below /proc", (*RUN[:-1], "/proc/none"), nothing, ["the file system refuses", "/proc/none"]),
    ("a torn record", RUN, broken_record, ["bootstrap", "expected"]),
    ("a clock behind", RUN, newer_push, ["the clock is behind", "serving/tab_1/99999999999"]),
    ("unknown branch", (*SERVE, "--branch", "tab_9"), nothing,
     ["--branch must be one of teacher, tab_0, tab_1, got tab_9"]),
    ("a port out of range", (*SERVE, "--metrics-port", "99999"), nothing, ["--metrics-port", "65535"]),
    ("a negative interval", (*SERVE, "--poll-seconds", "-1"), nothing, ["--poll-seconds"]),
    ("infinite memory", (*FLEET, "--memory-gib", "inf"), nothing, ["finite number"]),
    ("too little memory", (*FLEET, "--memory-gib", "0.1"), nothing, ["memory", "expected"]),
    ("spans not run", (*BACKFILL, "--spans", "0:1"), nothing, ["a span cannot be labelled"]),
    ("a skipped span that the log lacks", (*BACKFILL, "--spans", "90:90"), skipped_span,
     ["spans that are in the log and that the teacher has run: none, got 90"]),
    # Reports.
    ("no root", ("status", *RUN[1:-1], "none"), nothing, ["--root none: no run"]),
    ("no root of a report", ("report", "--config", "{config}", "--events", "{log}", "--root", "none", "--out",
     "p.html"), nothing, ["no run"]),
    ("no experiment", ("report", "--experiment", "none", "--out", "p.html"), nothing, ["no results"]),
    ("a model outside any root", ("lineage", "log"), nothing, ["the model is in no run's root"]),
    # Experiments.
    ("unknown experiment", ("experiment", "stategy", "--events", "log", "--out", "o"), nothing, ["strategy"]),
    ("no protocol", ("experiment", "size", "--events", "log", "--out", "o", "--protocol",
     "none.yaml"), nothing,
     ["none.yaml"]),
    ("experiment on a faulty log", ("experiment", "size", "--events", "{log}", "--out", "o"), unreadable,
     ["unreadable file"]),
    ("NaN as a budget", ("advise", "--events", "log", "--out", "o", "--budget-minutes", "nan"), nothing,
     ["finite number"]),
    ("an arm that is none", ("online", "--config", "{config}", "--out", "o", "--arms", "student,x"), nothing,
     ["x"]),
    ("no KuaiRand", ("demo", "--kuairand", "log", "--out", "o"), nothing, ["log", "expected"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "spoil", "fragments"), [kind[1:] for kind in KINDS], ids=[kind[0] for kind in KINDS]
)
def test_bad_input_is_refused(world, capfd, monkeypatch, arguments, spoil, fragments):
    spoil(world)
    places = {name: getattr(world, name) for name in ("config", "log", "root", "store", "set_id")}
    monkeypatch.setattr("sys.argv", ["rankdistill", *(argument.format(**places) for argument in arguments)])
    before = world.kept()
    capfd.readouterr()

    with pytest.raises(SystemExit) as stopped:
        main()

    out, err = capfd.readouterr()
    # Other lines show progress.
    lines = [line for line in err.splitlines() if line.startswith("rankdistill: ")]
    assert stopped.value.code == 2
    assert len(lines) == 1, err
    assert all(fragment in lines[0] for fragment in fragments), lines[0]
    assert "expected" in lines[0] or "Try `rankdistill" in lines[0], lines[0]
    assert "Traceback" not in out + err
    assert world.kept() == before


def test_the_names_of_the_kinds_differ():
    names = [kind[0] for kind in KINDS]
    assert len(set(names)) == len(names) > 40


def test_a_taken_port_is_refused(world, capfd, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        from pipeline.observation.metrics import serve_metrics

        with pytest.raises(ValueError, match="port not available"):
            serve_metrics(taken.getsockname()[1], load_deployment(world.config), None)
