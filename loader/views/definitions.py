"""Read the definitions of the views, from `sql/` and the site adapters, and apply them; grant access to them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

from sqlalchemy import Connection, text

from loader.config import Settings, data_root
from loader.postgres.connection import Warehouse, run_script, try_script
from loader.quoting import quote_identifier
from loader.views.dimensions import read_dimensions
from loader.views.site import adapters

#: Privileges granted on views, as statements that grant them again; on columns that may be gone, in a block each.
_GRANTS = """
    select format('grant %s on %I.%I to %s', privilege_type, nspname, relname,
        case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end)
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace cross join aclexplode(relacl)
    where relkind = 'v' and nspname = any(:schemas) and relname = any(:names) and grantee <> relowner
    union all
    select format('do $do$ begin grant %s (%I) on %I.%I to %s; exception when undefined_column then null; end $do$',
        privilege_type, attname, nspname, relname,
        case grantee when 0 then 'public' else quote_ident(pg_get_userbyid(grantee)) end)
    from pg_class join pg_namespace on pg_namespace.oid = relnamespace join pg_attribute on attrelid = pg_class.oid
    cross join aclexplode(attacl)
    where relkind = 'v' and nspname = any(:schemas) and relname = any(:names) and not attisdropped
"""

#: Citus would also create the views on the workers, and fails for one that reads local tables. Functions it has to
#: create there. Without Citus the setting has no effect.
_NOT_ON_WORKERS = "set local citus.enable_ddl_propagation to off;"
_ON_WORKERS = "set local citus.enable_ddl_propagation to default;"


@dataclass(frozen=True, slots=True)
class View:
    """A view, or a function for views: its schema, the other schema that it may read, and the SQL that creates it."""

    name: str
    schema: str
    other: str
    sql: str
    is_function: bool = False

    @property
    def place(self) -> str:
        """The qualified name, quoted."""
        return f"{quote_identifier(self.schema)}.{quote_identifier(self.name)}"

    @property
    def script(self) -> str:
        """The SQL with the search path for its names."""
        path = ", ".join((quote_identifier(self.schema), quote_identifier(self.other), "pg_catalog"))
        script = f"set local search_path to {path};\n\n{self.sql.rstrip()}\n\nset local search_path to default;\n"
        return script if self.is_function else f"{_NOT_ON_WORKERS}\n{script}{_ON_WORKERS}\n"


def read_views(settings: Settings, connection: Connection | None = None) -> list[View]:
    """Return the functions and all views, each after those it reads from.

    Without a connection, the site adapters are empty, and no view has dimensions.
    """
    own, ops, completed = settings.schema, settings.ops, read_dimensions(settings.schema, connection).complete
    views = [
        *(View(name, ops, own, sql, is_function=True) for name, sql in _files("sql/functions")),
        *(View(name, own, ops, completed(name, sql)) for name, sql in _files("sql/views")),
        *(View(name, ops, own, completed(name, sql)) for name, sql in _files("sql/internal")),
    ]
    for adapter, sql in adapters(own, connection):
        views.append(View(adapter.name, ops, own, sql) if adapter.is_internal else View(adapter.name, own, ops, sql))
    return _ordered(views)


def _files(folder: str) -> Iterable[tuple[str, str]]:
    return ((path.stem, path.read_text("utf-8")) for path in sorted((data_root() / folder).glob("*.sql")))


def _ordered(views: Sequence[View]) -> list[View]:
    by_name = {view.name: view for view in views}
    read = {view.name: _names(view.sql) & set(by_name) - {view.name} for view in views}
    return [by_name[name] for name in TopologicalSorter(read).static_order()]


def _names(sql: str) -> set[str]:
    """Return the names that may be views or functions."""
    return set(re.findall(r"\b(?:from|join)\s+(\w+)", sql)) | set(re.findall(r"\b(\w+)\(", sql))


def apply_views(connection: Connection, views: Sequence[View]) -> None:
    """Replace the functions and views. If columns have changed, drop and create all views, and restore their grants.

    Fails with SQLSTATE 2BP01, a SchemaError, if a user's view depends on one that must be dropped.
    """
    scripts = [view.script for view in views]
    if try_script(connection, "\n".join(scripts)):
        return
    grants = read_grants(connection, views)
    # At once, since as they are they may read each other in another order.
    places = ", ".join(view.place for view in views if not view.is_function)
    run_script(connection, f"drop view if exists {places}")
    for script in (*scripts, *grants):
        run_script(connection, script)


def read_grants(connection: Connection, views: Sequence[View]) -> list[str]:
    """Return the privileges granted on views, as statements that grant them again."""
    names = {"schemas": sorted({view.schema for view in views}), "names": [view.name for view in views]}
    return list(connection.scalars(text(_GRANTS), names))


def grant(warehouse: Warehouse, roles: Sequence[str]) -> None:
    """Let roles read all tables and views of the schema, including those that the loader's role creates later.

    Raises WarehouseError for a role that does not exist.
    """
    schema = quote_identifier(warehouse.schema)
    with warehouse.transaction():
        for role in map(quote_identifier, roles):
            warehouse.fetch(f"grant usage on schema {schema} to {role}")
            warehouse.fetch(f"grant select on all tables in schema {schema} to {role}")
            warehouse.fetch(f"alter default privileges in schema {schema} grant select on tables to {role}")
