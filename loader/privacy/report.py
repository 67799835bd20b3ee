"""Report where personal data lies: tables and columns with their rows, the oldest, and who may read them; files."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loader.postgres.connection import Warehouse
from loader.quoting import quote_identifier
from loader.schema.introspection import read_event_columns, read_view_columns
from loader.spool.segment_list import SegmentList
from loader.spool.segments import folder_name, site_log
from loader.views.personal_data import PERSONAL_COLUMNS, read_personal_properties

#: Columns of the ops schema with personal data, and the column that says how old it is, by table.
OPS_COLUMNS: Mapping[str, tuple[tuple[str, ...], str | None]] = {
    "rejected_events": (("raw",), "rejected_at"),
    "discarded_values": (("value",), "discarded_at"),
    "undelivered_events": (("raw",), "failed_at"),
    "segment_members": (("user_id",), None),
    "stored_people": (("name",), None),
    "stored_browsers": (("anonymous_id",), None),
    "stored_targets": (("link_url",), None),
    "stored_titles": (("email_subject",), None),
    "stored_agents": (("user_agent",), None),
    "stored_conversions": (("order_id",), "converted_at"),
    "suppressed": (("digest",), "added_at"),
}
#: Who may read the columns of a relation: owner and roles, by privileges on it and on columns.
_READERS = """
    select attname, array_agg(distinct case grantee when 0 then 'public' else pg_get_userbyid(grantee)::text end)
    from pg_class
    join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
    cross join lateral (
        select grantee, privilege_type from aclexplode(coalesce(relacl, acldefault('r', relowner)))
        union all
        select grantee, privilege_type from aclexplode(attacl)
    ) as granted
    where pg_class.oid = to_regclass(%s) and privilege_type = 'SELECT' and attname = any(%s)
    group by attname
"""


def report_tables(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return one row per column with personal data, in the current transaction.

    Each has `relation`, `column`, `rows` (those with a value; None for views), `oldest` and `readers`. Reads all
    tables.
    """
    hidden = PERSONAL_COLUMNS.union(read_personal_properties(warehouse))
    schema, ops = quote_identifier(warehouse.schema), quote_identifier(warehouse.ops)
    found: list[dict[str, Any]] = []
    for table, columns in read_event_columns(warehouse).items():
        personal = [name for name in columns if name in hidden]
        found += _describe(warehouse, f"{schema}.{quote_identifier(table)}", personal, "received_at")
    for table, (names, time) in OPS_COLUMNS.items():
        found += _describe(warehouse, f"{ops}.{table}", list(names), time)
    for view, names_of_view in read_view_columns(warehouse).items():
        place, personal = f"{schema}.{quote_identifier(view)}", [name for name in names_of_view if name in hidden]
        readers = _readers(warehouse, place, personal)
        found += [_row(place, name, None, None, readers) for name in personal]
    return found


def _describe(warehouse: Warehouse, place: str, columns: list[str], time: str | None) -> list[dict[str, Any]]:
    if not columns:
        return []
    counts = ", ".join(f"count({quote_identifier(name)})" for name in columns)
    oldest = f"min({time})" if time else "null::timestamptz"
    ((*rows, first),) = warehouse.fetch(f"select {counts}, {oldest} from {place}")
    readers = _readers(warehouse, place, columns)
    return [_row(place, name, count, first, readers) for name, count in zip(columns, rows, strict=True)]


def _readers(warehouse: Warehouse, place: str, columns: list[str]) -> Mapping[str, list[str]]:
    return dict(warehouse.fetch(_READERS, place, columns))


def _row(
    place: str, name: str, rows: int | None, oldest: datetime | None, readers: Mapping[str, list[str]]
) -> dict[str, Any]:
    names = ", ".join(sorted(readers.get(name, [])))
    return {"relation": place, "column": name, "rows": rows, "oldest": oldest, "readers": names}


def report_files(spool: Path, schema: str) -> list[dict[str, Any]]:
    """Return one row per folder of the spool with events: number of files, bytes, and the time of the oldest."""
    found = []
    for log in (schema, site_log(schema)):
        place = spool / folder_name(log)
        paths = [path for path in SegmentList(place).read().values() if path.exists()]
        for folder in sorted({path.parent for path in paths}):
            stats = [path.stat() for path in paths if path.parent == folder]
            oldest = datetime.fromtimestamp(min(stat.st_mtime for stat in stats), UTC)
            size = sum(stat.st_size for stat in stats)
            found.append({"folder": str(folder), "files": len(stats), "bytes": size, "oldest": oldest})
    return found
