"""Databases on all nodes of a Citus cluster, for tests. The URL names a database that has Citus and its workers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from loader.config import Settings
from loader.migrate import migrate
from tests.support.waiting import until

#: A node: host and port.
Node = tuple[str, int]
#: Few shards, because each statement asks all of them.
SHARDS = 4
WORKERS = "select nodename, nodeport from pg_dist_node where isactive and groupid > 0 order by nodename, nodeport"


def workers(url: str) -> Sequence[Node]:
    """Return the workers of the cluster that a database knows."""
    with psycopg.connect(url) as connection:
        found = [(str(host), int(port)) for host, port in connection.execute(WORKERS)]
    assert len(found) > 1, "the database in SELLIGENT_TEST_CITUS_URL knows less than two workers"
    return found


def on_node(url: str, node: Node | None, name: str | None = None) -> str:
    """Return the URL of a node, or of the coordinator, and of a database there."""
    parameters = dict(conninfo_to_dict(url))
    if node:
        parameters |= {"host": node[0], "port": node[1]}
    return make_conninfo("", **(parameters | ({"dbname": name} if name else {})))


def _everywhere(url: str, statement: str, name: str, *others: str) -> None:
    names = [sql.Identifier(name), *map(sql.Identifier, others)]
    for node in (None, *workers(url)):
        with psycopg.connect(on_node(url, node), autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*names))


@contextmanager
def distributed_template(url: str, name: str) -> Iterator[str]:
    """Yield the name of a migrated database whose event tables are distributed."""
    _everywhere(url, "create database {}", name)
    try:
        for node in (*workers(url), None):
            with psycopg.connect(on_node(url, node, name), autocommit=True) as connection:
                connection.execute("create extension citus")
                if node is None:
                    here = conninfo_to_dict(url)
                    connection.execute(
                        "select citus_set_coordinator_host(%s, %s)", (here["host"], int(str(here["port"])))
                    )
                    for worker in workers(url):
                        connection.execute("select citus_add_node(%s, %s)", worker)
        migrate(settings_of(url, name), is_distributed=True)
        yield name
    finally:
        drop(url, name)


def settings_of(url: str, name: str) -> Settings:
    """Return the settings of a database on the coordinator."""
    few = f"-c citus.shard_count={SHARDS} -c client_min_messages=warning"
    return Settings(make_conninfo(on_node(url, None, name), options=few), "selligent")


def clone(url: str, name: str, template: str) -> Settings:
    """Copy a database on all nodes."""
    for node in (None, *workers(url)):
        with psycopg.connect(on_node(url, node), autocommit=True) as connection:
            until(lambda: _copied(connection, name, template), 30)
    return settings_of(url, name)


def _copied(connection: psycopg.Connection, name: str, template: str) -> bool:
    """Copy a database, once Citus' own session has left it."""
    connection.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s", [template])
    with suppress(psycopg.errors.ObjectInUse):
        statement = sql.SQL("create database {} template {}")
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return True
    return False


def drop(url: str, name: str) -> None:
    """Drop a database on all nodes, again while a session of Citus itself comes between."""

    def dropped() -> bool:
        with suppress(psycopg.errors.ObjectInUse):
            _everywhere(url, "drop database if exists {} with (force)", name)
            return True
        return False

    until(dropped)
