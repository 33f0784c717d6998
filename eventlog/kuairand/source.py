"""Reads KuaiRand's CSV files as rows of the log. DuckDB sorts and joins the rows in bounded memory.

Reference: Gao et al., "KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed
Videos", CIKM '22, doi 10.1145/3511808.3557624. The files `video_features_statistic` are not read: they have
means over a month that overlaps the log, so the features would contain information from the future.
"""

from __future__ import annotations

import datetime
import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from eventlog.errors import BadInput

MEMORY_LIMIT = "2GB"
"""Above this limit DuckDB spills rows to its temporary folder."""
BATCH_ROWS = 131_072
DRAWN_AT_RANDOM = "drawn_at_random"
"""Name of the column that marks random exposures; the release calls it `is_rand`."""

_FILE_ERRORS = (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.IOException)
"""DuckDB's errors for a faulty file. Any other error is a fault of this program."""
_LOAD_ERRORS = (*_FILE_ERRORS, duckdb.BinderException)
"""Errors while a file is loaded: if rows do not fit the header, DuckDB may not find the columns."""
_MISSING_VALUE = -124
"""Stands for a missing value in the release."""
_NUM_TRAITS = 18
_LOG_COLUMNS = (
    "user_id", "video_id", "date", "time_ms", "is_click", "is_like", "is_comment", "long_view",
    "play_time_ms", "duration_ms", "is_profile_enter", "tab", "is_rand",
)  # fmt: skip
_KEY_COLUMNS = ("user_id", "video_id", "date", "time_ms", "tab")
_USER_COLUMNS = (
    "user_id", "user_active_degree", "is_live_streamer", "is_video_author", "follow_user_num",
    "fans_user_num", "friend_user_num", "register_days",
    *(f"onehot_feat{trait}" for trait in range(_NUM_TRAITS)),
)  # fmt: skip
_VIDEO_COLUMNS = ("video_id", "author_id", "upload_dt", "upload_type", "tag")
_RESERVED_COLUMNS = ("day", "ordinal", *_USER_COLUMNS[1:], *_VIDEO_COLUMNS[1:])
"""Columns that our queries add to the columns of the log files."""


class KuaiRandSource:
    """The impressions of one KuaiRand folder, loaded into a DuckDB database inside `workspace`.

    Args:
        source: a folder in the official layout (`KuaiRand-{Pure,1K,27K}`, or its `data`).
        workspace: a folder for the database and DuckDB's spilled rows.

    Raises:
        BadInput: if files or columns are missing, a file cannot be read, or a log file has a null in one of
            `_KEY_COLUMNS` or a column of `_RESERVED_COLUMNS`.
    """

    def __init__(self, source: Path, workspace: Path) -> None:
        self._source = source
        logs = _files(source, "log_(standard|random)", _LOG_COLUMNS)
        users = _files(source, "user_features", _USER_COLUMNS)
        videos = _files(source, "video_features_basic", _VIDEO_COLUMNS)
        self._connection = duckdb.connect(
            str(workspace / "source.duckdb"),
            config={
                "memory_limit": MEMORY_LIMIT,
                "temp_directory": str(workspace / "spill"),
                "preserve_insertion_order": "false",
            },
        )
        self._run(_MACROS)
        self._load_log(logs)
        self._run(_features_table("users", _USER_COLUMNS), [_path_texts(users)], file_errors=_LOAD_ERRORS)
        self._run(_features_table("videos", _VIDEO_COLUMNS), [_path_texts(videos)], file_errors=_LOAD_ERRORS)

    def close(self) -> None:
        """Closes the database, so that the workspace can be deleted."""
        self._connection.close()

    def dates(self) -> list[datetime.date]:
        """The days that have impressions, in order."""
        return [date for (date,) in self._run("SELECT DISTINCT day FROM log ORDER BY day").fetchall()]

    def rows(self, date: datetime.date, span: int) -> Iterator[pa.Table]:
        """The impressions of one day without duplicates, in order of `event_time_ms`.

        Args:
            date: the day, as in the source's column `date`: the date in China (UTC+8) of the rounded time.
            span: the number of this day's span.

        Yields:
            Tables of at most BATCH_ROWS rows with the log's fixed columns, features and labels, and the bool
            column DRAWN_AT_RANDOM. Delayed labels are null. History columns are missing.
        """
        for batch in self._run(self._rows_query, [date, span]).to_arrow_reader(BATCH_ROWS):
            yield pa.Table.from_batches([batch])

    def _load_log(self, files: list[Path]) -> None:
        types = ", ".join(f"'{column}': 'BIGINT'" for column in _LOG_COLUMNS)
        options = f"header=true, delim=',', union_by_name=true, types={{{types}}}"
        self._run(
            "CREATE TABLE log AS SELECT *,"  # noqa: S608 - only constants
            f" make_date(date // 10000, date // 100 % 100, date % 100) AS day FROM read_csv($1, {options})",
            [_path_texts(files)],
            file_errors=_LOAD_ERRORS,
        )
        # The last column is `day`, which the query above has added.
        columns = [name for name, *_ in self._run("DESCRIBE log").fetchall()]
        for name in columns[:-1]:
            if name.lower() in _RESERVED_COLUMNS:
                raise BadInput(
                    f"log file with a column {name}", where=str(self._source), got=name,
                    expected="the columns of the official release", fix="Rename or remove the column.",
                )  # fmt: skip
        for column in _KEY_COLUMNS:
            query = f"SELECT count(*) FROM log WHERE {column} IS NULL"  # noqa: S608 - only constants
            (missing,) = self._run(query).fetchall()[0]
            if missing:
                raise BadInput(
                    f"missing values in column {column}", where=str(self._source),
                    expected="a value in every row of the log files", got=f"{missing} rows without a value",
                    fix="Repair the log files.",
                )  # fmt: skip
        self._rows_query = _ROWS.format(
            tie_breakers=", ".join(map(_identifier, columns)),
            traits=_traits(),
            drawn_at_random=DRAWN_AT_RANDOM,
        )

    def _run(
        self,
        query: str,
        parameters: list[Any] | None = None,
        file_errors: tuple[type[Exception], ...] = _FILE_ERRORS,
    ) -> Any:
        try:
            return self._connection.execute(query, parameters)
        except file_errors as error:
            raise BadInput(
                "unreadable KuaiRand files", where=str(self._source),
                expected="CSV files of the official release", got=" ".join(str(error).split())[:300],
                fix="Download the files again, or repair the file that this message names.",
            ) from error  # fmt: skip


def _files(source: Path, kind: str, columns: tuple[str, ...]) -> list[Path]:
    """The files of one kind, sorted by name. Raises BadInput if a file lacks a column.

    Args:
        source: the KuaiRand folder.
        kind: regular expression for the first part of the file names.
        columns: the columns that each file must have.
    """
    folder = source / "data" if (source / "data").is_dir() else source
    pattern = re.compile(rf"{kind}(_.+)?_(?P<size>pure|1k|27k)(_part\d+)?\.csv(\.gz)?")
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    files = {entry: match.group("size") for entry in entries if (match := pattern.fullmatch(entry.name))}
    if not files or len(set(files.values())) > 1:
        raise BadInput(
            "several releases of KuaiRand in one folder" if files else f"no KuaiRand files of kind {kind}",
            where=str(folder), expected=f"{kind}_*_{{pure|1k|27k}}.csv or .csv.gz of one release",
            got=", ".join(sorted(set(files.values()))) or ("none" if folder.is_dir() else "no such folder"),
            fix="Give the folder of one release, KuaiRand-{Pure,1K,27K}/data.",
        )  # fmt: skip
    for file in files:
        _check_header(file, columns)
    return list(files)


def _check_header(file: Path, columns: tuple[str, ...]) -> None:
    try:
        # utf-8-sig: a spreadsheet program may have written a byte order mark.
        opened = gzip.open if file.suffix == ".gz" else open
        with opened(file, "rt", encoding="utf-8-sig") as lines:
            header = lines.readline().strip().replace('"', "").split(",")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise BadInput(
            "unreadable file", where=str(file), expected="CSV, or CSV compressed by gzip",
            got=str(error), fix="Download the file again.",
        ) from error  # fmt: skip
    missing = [column for column in columns if column not in header]
    if missing:
        raise BadInput(
            f"missing column {', '.join(missing)}", where=str(file),
            expected="the columns of the official release", got=f"columns {', '.join(header)[:200]}",
            fix="Download the file again.",
        )  # fmt: skip


def _path_texts(files: list[Path]) -> list[str]:
    return [str(file) for file in files]


def _identifier(column: str) -> str:
    """The SQL identifier of a column, quoted because a file's header may have any characters."""
    return '"' + column.replace('"', '""') + '"'


def _features_table(name: str, columns: tuple[str, ...]) -> str:
    """SQL that creates a table of features. Its parameter `$1` is the list of files.

    Args:
        name: name of the table.
        columns: names of the columns, the key first.
    """
    # A repeated key would repeat impressions in the join, so only the first row of each key remains.
    # Despite `all_varchar`, DuckDB reads the columns of a file without rows as BOOLEAN.
    texts = [f"CAST({column} AS VARCHAR) AS {column}" for column in columns[1:]]
    return (
        f"CREATE TABLE {name} AS SELECT DISTINCT ON ({columns[0]}) * FROM ("  # noqa: S608 - only constants
        f" SELECT CAST({columns[0]} AS BIGINT) AS {columns[0]}, {', '.join(texts)}"
        f" FROM read_csv($1, header=true, delim=',', union_by_name=true, all_varchar=true))"
        f" ORDER BY ALL"
    )


def _traits() -> str:
    """SQL expressions for a user's trait tokens, such as `3=949`; null for a missing trait."""
    tokens = [f"'{trait}=' || integer_text(onehot_feat{trait})" for trait in range(_NUM_TRAITS)]
    tokens += [f"'{name}=' || integer_text(is_{name})" for name in ("live_streamer", "video_author")]
    return ", ".join(tokens)


_MACROS = f"""
CREATE MACRO flag(value) AS nullif(CAST(value AS BIGINT), {_MISSING_VALUE});
CREATE MACRO word(value) AS nullif(nullif(trim(value), ''), '{_MISSING_VALUE}');
CREATE MACRO finite(value) AS CASE WHEN isfinite(value) THEN value END;
CREATE MACRO number(value) AS nullif(finite(TRY_CAST(value AS DOUBLE)), {_MISSING_VALUE});
-- A column of integers has `1.0` instead of `1` if its file has missing values. An integer beyond 2^53 has no
-- exact DOUBLE, so texts such as `1` are cast to BIGINT without a DOUBLE between.
CREATE MACRO whole(value) AS
  CASE WHEN regexp_full_match(trim(value), '-?[0-9]+') THEN TRY_CAST(value AS BIGINT)
  ELSE CAST(number(value) AS BIGINT) END;
CREATE MACRO integer_text(value) AS CAST(nullif(whole(value), {_MISSING_VALUE}) AS VARCHAR);
-- greatest() ignores nulls: without CASE it would turn an unknown age into 0.
CREATE MACRO age(today, born) AS CASE WHEN born IS NOT NULL THEN greatest(today - born, 0) END;
CREATE MACRO non_empty(items) AS CASE WHEN len(items) > 0 THEN items END;
"""

_ROWS = """
WITH impressions AS (
  SELECT *, row_number() OVER (PARTITION BY user_id, video_id, time_ms ORDER BY {tie_breakers}) AS ordinal
  FROM (SELECT DISTINCT * FROM log WHERE day = $1)
)
SELECT
  concat(user_id, '-', video_id, '-', date, '-', time_ms, CASE WHEN ordinal > 1 THEN '-' || ordinal END)
    AS example_id,
  time_ms AS event_time_ms,
  CAST($2 AS BIGINT) AS impression_span,
  'tab_' || tab AS surface,
  CAST(user_id AS VARCHAR) AS cluster_id,
  CAST(flag(is_click) AS FLOAT) AS label_click,
  CAST(flag(long_view) AS FLOAT) AS label_long_view,
  CAST(CASE WHEN play_time_ms >= 0 THEN ln(1 + play_time_ms / 1000.0) END AS FLOAT) AS label_watch_time,
  CAST(flag(is_like) AS FLOAT) AS label_like,
  CAST(flag(is_profile_enter) AS FLOAT) AS label_profile_enter,
  CAST(flag(is_comment) AS FLOAT) AS label_comment,
  CAST(NULL AS FLOAT) AS label_ltv,
  CAST(user_id AS VARCHAR) AS user_id,
  CAST(video_id AS VARCHAR) AS video_id,
  integer_text(author_id) AS author_id,
  word(upload_type) AS upload_type,
  word(user_active_degree) AS user_active_degree,
  non_empty(
    list_filter(list_transform(string_split(tag, ','), lambda tag: word(tag)), lambda tag: tag IS NOT NULL)
  ) AS tag,
  non_empty(list_filter([{traits}], lambda item: item IS NOT NULL)) AS user_traits,
  -- The hour in China (UTC+8). The column `hourmin` is rounded, so it is not used.
  (time_ms // 3600000 + 8) % 24 AS hour,
  CAST(CASE WHEN duration_ms > 0 THEN duration_ms / 1000.0 END AS FLOAT) AS duration_seconds,
  CAST(age(day, TRY_CAST(upload_dt AS DATE)) AS FLOAT) AS video_age_days,
  CAST(number(follow_user_num) AS FLOAT) AS follow_user_num,
  CAST(number(fans_user_num) AS FLOAT) AS fans_user_num,
  CAST(number(friend_user_num) AS FLOAT) AS friend_user_num,
  CAST(number(register_days) AS FLOAT) AS register_days,
  coalesce(is_rand = 1, false) AS {drawn_at_random}
FROM impressions LEFT JOIN users USING (user_id) LEFT JOIN videos USING (video_id)
ORDER BY event_time_ms, example_id
"""
