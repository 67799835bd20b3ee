"""SQLAlchemy metadata of a source's schemas, with which Alembic compares the database."""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
    func,
    text,
    true,
)

from loader.config import ops_schema
from loader.schema import chunk_tables, forwarding_tables, privacy_tables
from loader.schema.event_tables import COLLECTIONS, MAILING, TRACKS, event_table, timestamptz

#: PostgreSQL's default names of constraints.
NAMING = {"pk": "%(table_name)s_pkey", "fk": "%(table_name)s_%(column_0_N_name)s_fkey"}

EXCLUSIVE = "Whether no other load may run beside it"


def counts() -> list[Column[Any]]:
    """Return the columns that count outcomes: read = loaded + duplicate + rejected + ignored + suppressed."""
    comments = {
        "events_read": "Events found in the input",
        "events_loaded": "New rows in tracks",
        "events_duplicate": "Events that were stored already",
        "events_rejected": "Events kept in rejected_events",
        "events_ignored": "Calls that are no part of this source: identify, page, screen, group, alias",
        "events_suppressed": "Events of people who asked not to be tracked",
        "values_discarded": "Values kept in discarded_values",
        "values_repaired": "Characters PostgreSQL cannot store (U+0000, lone surrogates) that became U+FFFD",
        "events_clock_suspect": "New rows whose sender had a clock that is wrong by more than max_clock_skew",
    }
    return [
        Column(name, BigInteger, nullable=False, server_default=text("0"), comment=comment)
        for name, comment in comments.items()
    ]


def loads(metadata: MetaData, ops: str) -> Table:
    return Table(
        "loads",
        metadata,
        Column("load_id", BigInteger, Identity(always=True), primary_key=True, comment="Number of the load"),
        Column("kind", Text, nullable=False, comment="What was loaded: files, or rejects once more (replay)"),
        Column("status", Text, nullable=False, comment="running, ok, empty, partial or failed"),
        Column("started_at", timestamptz(), nullable=False, server_default=func.now(), comment="When it began"),
        Column("finished_at", timestamptz(), comment="When it ended; null while it runs"),
        Column("host", Text, nullable=False, comment="Machine it ran on"),
        Column("pid", BigInteger, nullable=False, comment="Its process there"),
        Column("version", Text, nullable=False, comment="Version of the loader"),
        Column("exclusive", Boolean, nullable=False, server_default=false(), comment=EXCLUSIVE),
        Column("files", BigInteger, nullable=False, server_default=text("0"), comment="Files it read"),
        *counts(),
        Column("error", Text, comment="Why it failed"),
        schema=ops,
        comment="One row per load",
    )


def files(metadata: MetaData, ops: str) -> Table:
    table = Table(
        "files",
        metadata,
        Column("file_id", BigInteger, Identity(always=True), primary_key=True, comment="Number of the reading"),
        Column("load_id", BigInteger, ForeignKey(f"{ops}.loads.load_id"), nullable=False, comment="The load"),
        Column("uri", Text, nullable=False, comment="Where the file is; - for standard input"),
        Column("size", BigInteger, comment="Size in bytes as stored"),
        Column("fingerprint", Text, comment="Changes whenever the content may have changed"),
        Column("status", Text, nullable=False, comment="running, done, failed, or left: it was still being written"),
        Column("position", BigInteger, nullable=False, comment="Bytes committed so far, decompressed; of Parquet rows"),
        Column("line", BigInteger, nullable=False, comment="Lines committed so far"),
        *counts(),
        Column("started_at", timestamptz(), nullable=False, server_default=func.now(), comment="When it was opened"),
        Column("finished_at", timestamptz(), comment="When it was done"),
        Column("error", Text, comment="Why it failed"),
        schema=ops,
        comment="One row per reading of a file by a load",
    )
    Index("files_uri_idx", table.c.uri, table.c.file_id)
    Index("files_load_id_idx", table.c.load_id)
    return table


def rejected_events(metadata: MetaData, ops: str) -> Table:
    table = Table(
        "rejected_events",
        metadata,
        Column("rejected_id", BigInteger, Identity(always=True), primary_key=True, comment="Number of the reject"),
        Column("load_id", BigInteger, ForeignKey(f"{ops}.loads.load_id"), nullable=False, comment="The load"),
        Column("uri", Text, nullable=False, comment="The file it was in"),
        Column("line", BigInteger, nullable=False, comment="Its line there, from 1"),
        Column("raw", LargeBinary, nullable=False, comment="The bytes as they came"),
        Column("reason", Text, nullable=False, comment="Code of the reason"),
        Column("detail", Text, comment="The reason in words"),
        Column("rejected_at", timestamptz(), nullable=False, server_default=func.now(), comment="When"),
        Column("replayed_at", timestamptz(), comment="When it was loaded after all"),
        schema=ops,
        comment="One row per event that could not be loaded",
    )
    Index("rejected_events_load_id_idx", table.c.load_id)
    return table


def discarded_values(metadata: MetaData, ops: str) -> Table:
    table = Table(
        "discarded_values",
        metadata,
        Column("event_id", Text, nullable=False, comment="id of the event, which is loaded"),
        Column("original_timestamp", timestamptz(), comment="The other half of the event's key"),
        Column("table_name", Text, nullable=False, comment="Table the value would have gone to"),
        Column("property", Text, nullable=False, comment="Path of the property as it was sent"),
        Column("value", Text, nullable=False, comment="The value as JSON"),
        Column("reason", Text, nullable=False, comment="Code of the reason"),
        Column("load_id", BigInteger, ForeignKey(f"{ops}.loads.load_id"), nullable=False, comment="The load"),
        Column("discarded_at", timestamptz(), nullable=False, server_default=func.now(), comment="When"),
        Column(
            "discard_id",
            BigInteger,
            Identity(always=True),
            nullable=False,
            comment="Number of the value: those of one event in the order of its properties",
        ),
        schema=ops,
        comment="One row per value of a loaded event that found no place in its column",
    )
    Index(
        "discarded_values_waiting_idx",
        table.c.table_name,
        table.c.original_timestamp,
        table.c.event_id,
        postgresql_where=text("reason = 'no_column'"),
    )
    Index("discarded_values_table_name_reason_idx", table.c.table_name, table.c.reason)
    return table


def identifiers(metadata: MetaData, ops: str) -> Table:
    return Table(
        "identifiers",
        metadata,
        Column("kind", Text, primary_key=True, comment="table or column"),
        Column("parent", Text, primary_key=True, comment="The table of a column; empty for a table"),
        Column("original", Text, primary_key=True, comment="The name as it was sent; dots join the names of a path"),
        Column("identifier", Text, nullable=False, comment="Its name in the database, permanently"),
        schema=ops,
        comment="One row per name that was sent and the table or column it became",
    )


def incidents(metadata: MetaData, ops: str) -> Table:
    return Table(
        "incidents",
        metadata,
        Column("incident_id", BigInteger, Identity(always=True), primary_key=True, comment="Its number"),
        Column("began_at", timestamptz(), nullable=False, comment="When the first failure was reported"),
        Column("ended_at", timestamptz(), comment="When the recovery was reported; null until then"),
        Column("error", Text, nullable=False, comment="The first failure"),
        schema=ops,
        comment="One row per incident: consecutive failed loads, reported to the webhook once",
    )


def announced_columns(metadata: MetaData, ops: str) -> Table:
    return Table(
        "announced_columns",
        metadata,
        Column("table_name", Text, primary_key=True, comment="Table of events"),
        Column("column_name", Text, primary_key=True, comment="Its column"),
        schema=ops,
        comment="One row per column that existed when new columns were last reported to the webhook",
    )


def source(metadata: MetaData, ops: str) -> Table:
    return Table(
        "source",
        metadata,
        Column("is_this", Boolean, primary_key=True, server_default=true(), comment="Always true: one row"),
        Column("nickname", Text, nullable=False, comment="What people call the source"),
        CheckConstraint("is_this", name="source_is_this_check"),
        schema=ops,
        comment="One row at most: the source that is loaded into this schema",
    )


def write_keys(metadata: MetaData, ops: str) -> Table:
    table = Table(
        "write_keys",
        metadata,
        Column("key_id", BigInteger, Identity(always=True), primary_key=True, comment="Number of the key"),
        Column("label", Text, nullable=False, comment="Who sends with it"),
        Column("hash", LargeBinary, nullable=False, comment="SHA-256 of the key, which is kept nowhere"),
        Column(
            "created_at",
            timestamptz(),
            nullable=False,
            server_default=func.now(),
            comment="When it was made or imported",
        ),
        Column("last_used_at", timestamptz(), comment="When events last came with it, to some seconds"),
        Column("revoked_at", timestamptz(), comment="Since when it is refused; null while it is valid"),
        Column(
            "allowed_origins",
            ARRAY(Text),
            nullable=False,
            server_default=text("'{}'"),
            comment="Origins of web pages whose scripts may read the answers of the endpoint",
        ),
        Column("last_client", Text, comment="Name and version of the client that last used it, of its User-Agent"),
        Column(
            "is_site",
            Boolean,
            nullable=False,
            server_default=false(),
            comment="Whether calls with the key go to integrations only, as those of the company's site and apps",
        ),
        schema=ops,
        comment="One row per write key with which senders may send events",
    )
    Index("write_keys_hash_idx", table.c.hash, unique=True)
    return table


def settings(metadata: MetaData, schema: str) -> Table:
    return Table(
        "settings",
        metadata,
        Column("name", Text, primary_key=True, comment="Name of the setting"),
        Column("value", Text, nullable=False, comment="Its value"),
        Column("description", Text, nullable=False, comment="What it is for"),
        schema=schema,
        comment="One row per setting of the views",
    )


def warehouse(schema: str) -> MetaData:
    """Return the metadata of all tables that the migrations create for one source."""
    metadata = MetaData(naming_convention=NAMING)
    event_table(metadata, schema, TRACKS)
    for name, properties in COLLECTIONS.items():
        event_table(metadata, schema, name, (*MAILING, *properties))
    settings(metadata, schema)
    for make in (
        loads,
        files,
        chunk_tables.chunks,
        chunk_tables.changed_chunks,
        rejected_events,
        discarded_values,
        identifiers,
        incidents,
        announced_columns,
        source,
        write_keys,
        forwarding_tables.integrations,
        forwarding_tables.forwarding,
        forwarding_tables.undelivered_events,
        forwarding_tables.segment_members,
        privacy_tables.suppression_key,
        privacy_tables.suppressed,
        privacy_tables.erasures,
        privacy_tables.retention,
        privacy_tables.retained_campaigns,
        privacy_tables.retained_campaign_days,
    ):
        make(metadata, ops_schema(schema))
    return metadata
