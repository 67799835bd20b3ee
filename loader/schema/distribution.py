"""Distribute the event tables over the workers of a Citus cluster, and find out whether they are distributed.

All event tables are distributed by `id` and co-located, so that the rows of an event are on one worker in all tables.
Everything else (ledger, rejects, figures, settings) stays on the coordinator. Without Citus nothing here has an effect.
"""

import json
import logging
import time
from collections.abc import Mapping, Sequence

from loader.errors import DisconnectedError, UsageError
from loader.postgres.connection import Warehouse
from loader.quoting import quote_identifier, quote_literal
from loader.schema.event_tables import TRACKS
from loader.schema.introspection import EventTable, read_event_columns, read_event_tables

log = logging.getLogger(__name__)

_HAS_CITUS = "select exists (select from pg_extension where extname = 'citus')"
_DISTRIBUTED = """
    select relname from pg_dist_partition join pg_class on pg_class.oid = logicalrelid
    where relnamespace = to_regnamespace(%s) and partmethod = 'h'
"""
#: Not again if another load has just done it.
_CREATE = """
    select create_distributed_table({table}, 'id', colocate_with => {colocation})
    where not exists (select from pg_dist_partition where logicalrelid = {table}::regclass)
"""
_CREATE_ONLINE = "select create_distributed_table_concurrently({table}, 'id', colocate_with => {colocation})"
#: Frees what the coordinator still stores of a table that has been distributed with its rows.
_TRUNCATE = "select truncate_local_data_after_distributing_table({table})"
#: Drops what the distribution has left on the coordinator, which would look like another event table.
_CLEAN_UP = "call citus_cleanup_orphaned_resources()"
#: Bytes of the heap, bytes with indexes and TOAST, and estimated rows of each distributed table, by node.
_SIZES = """
    select success, result from run_command_on_all_nodes(format($$
        select coalesce(json_agg(shards), '[]') from (
            select
                parent.relname,
                sum(pg_table_size(shard.oid)),
                sum(pg_total_relation_size(shard.oid)),
                sum(greatest(shard.reltuples, 0)::bigint)
            from pg_dist_shard
            join pg_class as parent on parent.oid = logicalrelid
            join pg_class as shard on shard.oid = to_regclass(shard_name(logicalrelid, shardid))
            where parent.relnamespace = to_regnamespace(%%L)
            group by parent.relname
        ) as shards (name, heap_bytes, total_bytes, estimated_rows)
    $$, %s::text))
"""
#: Transactions that were committed by the coordinator, or will be, and are not yet committed by all workers.
_PREPARED = """
    select string_to_table(result, ' ') from run_command_on_workers($$
        select string_agg(gid, ' ') from pg_prepared_xacts where database = current_database()
    $$)
    where success and result <> ''
"""

#: How long to wait for transactions that workers have prepared: Citus resolves doubtful ones every minute. Seconds.
MAX_PREPARED_SECONDS, PREPARED_PAUSE_SECONDS = 180.0, 0.02


def has_citus(warehouse: Warehouse) -> bool:
    """Return whether the database has the extension Citus, in the current transaction."""
    ((found,),) = warehouse.fetch(_HAS_CITUS)
    return bool(found)


def is_distributed(warehouse: Warehouse) -> bool:
    """Return whether the event tables of a source are distributed, in the current transaction."""
    return TRACKS in read_distributed_tables(warehouse)


def read_distributed_tables(warehouse: Warehouse) -> set[str]:
    """Return the names of the distributed tables of a source, in the current transaction."""
    if not has_citus(warehouse):
        return set()
    return {name for (name,) in warehouse.fetch(_DISTRIBUTED, quote_identifier(warehouse.schema))}


def measure_event_tables(warehouse: Warehouse) -> list[EventTable]:
    """Return the event tables, including `tracks`, with the sums of their shards, in the current transaction."""
    tables, distributed = read_event_tables(warehouse), read_distributed_tables(warehouse)
    if not distributed:
        return tables
    sizes = _read_sizes(warehouse)
    return [
        EventTable(table.name, heap, 0, total, rows, is_distributed=True)
        for table in tables
        if table.name in distributed
        for heap, total, rows in [sizes.get(table.name, (0, 0, 0))]
    ] + [table for table in tables if table.name not in distributed]


def _read_sizes(warehouse: Warehouse) -> Mapping[str, tuple[int, int, int]]:
    sizes: dict[str, tuple[int, int, int]] = {}
    for is_read, result in warehouse.fetch(_SIZES, quote_identifier(warehouse.schema)):
        if not is_read:
            raise DisconnectedError(f"the sizes of the tables cannot be read from a node of the cluster: {result}")
        for shards in json.loads(result):
            found = shards["heap_bytes"], shards["total_bytes"], shards["estimated_rows"]
            known = sizes.get(shards["name"], (0, 0, 0))
            sizes[shards["name"]] = known[0] + found[0], known[1] + found[1], known[2] + found[2]
    return sizes


def distribution_statements(warehouse: Warehouse, table: str) -> Sequence[str]:
    """Return the statements that distribute a new event table, if those of the source are distributed.

    They run in the transaction that creates the table.
    """
    return [_CREATE.format(**_places(warehouse, table)).strip()] if is_distributed(warehouse) else []


def distribute_tables(warehouse: Warehouse) -> list[str]:
    """Distribute all event tables that are not distributed yet; return their names. Safe to repeat.

    A table with rows stays readable and writable meanwhile, for which the servers need `wal_level = logical`. Each
    table is a step of its own, and a warehouse works in between. Raises UsageError for a database without Citus.
    """
    with warehouse.transaction():
        if not has_citus(warehouse):
            raise UsageError(
                "the database has no extension citus; run `create extension citus` on all nodes and add the workers "
                "(`select citus_add_node(host, port)`), or leave out --distributed"
            )
        tables, done = read_event_columns(warehouse), read_distributed_tables(warehouse)
    todo = sorted(tables.keys() - done, key=lambda name: (name != TRACKS, name))
    for table in todo:
        places = _places(warehouse, table)
        with warehouse.transaction():
            ((has_rows,),) = warehouse.fetch(f"select exists (select from {places['name']})")
            if not has_rows:
                warehouse.run(f"lock table {places['name']} in share mode")
                ((has_rows,),) = warehouse.fetch(f"select exists (select from {places['name']})")
            if not has_rows:
                warehouse.fetch(_CREATE.format(**places))
        if has_rows:  # outside of a transaction, as Citus demands
            warehouse.fetch(_CREATE_ONLINE.format(**places))
            warehouse.fetch(_TRUNCATE.format(**places))
            warehouse.fetch(_CLEAN_UP)
        log.info("table %r is distributed", table)
    return todo


def wait_for_workers(warehouse: Warehouse) -> None:
    """Wait until all workers have committed what the coordinator has committed so far, in the current transaction.

    The rows of a chunk become visible on the workers shortly after the chunk in the ledger: two-phase commit prepares
    on all workers, commits on the coordinator, then on the workers. After a failure in between, Citus commits them
    within a minute.
    """
    doubtful = _read_prepared(warehouse)
    deadline = time.monotonic() + MAX_PREPARED_SECONDS
    while doubtful and time.monotonic() < deadline:
        time.sleep(PREPARED_PAUSE_SECONDS)
        doubtful &= _read_prepared(warehouse)
    if doubtful:
        log.warning("%s transactions have been prepared on workers for long: %s", len(doubtful), sorted(doubtful)[:3])


def require_workers(warehouse: Warehouse) -> None:
    """Let the current transaction fail at its commit if it loses a worker that rows have been copied to.

    Citus prepares a transaction on the connections that it knows to have written. A COPY over a connection that has
    read before, to look up keys, does not count (seen in 13.2.2): its rows are lost with the connection, and the commit
    only warns. A statement that deletes nothing, on all shards over the same connections, counts. By default it would
    let other loads wait until the commit.
    """
    if is_distributed(warehouse):
        warehouse.run("set local citus.all_modifications_commutative to on")
        warehouse.fetch(f"delete from {_places(warehouse, TRACKS)['name']} where original_timestamp > 'infinity'")


def _read_prepared(warehouse: Warehouse) -> set[str]:
    return {name for (name,) in warehouse.fetch(_PREPARED)}


def _places(warehouse: Warehouse, table: str) -> dict[str, str]:
    """Return a table's qualified name, the same as a literal, and the literal of what it is co-located with."""
    schema = quote_identifier(warehouse.schema)
    name = f"{schema}.{quote_identifier(table)}"
    colocation = "none" if table == TRACKS else f"{schema}.{TRACKS}"
    return {"name": name, "table": quote_literal(name), "colocation": quote_literal(colocation)}
