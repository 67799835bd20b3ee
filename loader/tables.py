"""The fixed tables as SQLAlchemy metadata: Alembic compares the database with it, new collections are made from it."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
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

from loader.names import bounded, ops_schema

#: PostgreSQL's own names for constraints.
NAMING = {"pk": "%(table_name)s_pkey", "fk": "%(table_name)s_%(column_0_N_name)s_fkey"}

EXCLUSIVE = "Whether no other load may run beside it"
#: The table of all events.
TRACKS = "tracks"
#: The documented properties of each collection, beside MAILING on all (Selligent's and Segment's e-mail specification).
COLLECTIONS: dict[str, tuple[str, ...]] = {
    "email_delivered": (),
    "email_opened": (),
    "email_link_clicked": ("link_id", "link_name", "link_url"),
    "email_unsubscribed": ("list_id", "list_name"),
    "email_bounced": (),
    "email_marked_as_spam": (),
}
MAILING = ("email_id", "email_subject", "campaign_id", "campaign_name")

PROPERTY_COMMENTS = {
    "email_id": "The mailing, not one person's copy of it; property email_id",
    "email_subject": "Subject line of the mailing; property email_subject",
    "campaign_id": "The campaign the mailing belongs to; property campaign_id",
    "campaign_name": "Name of the campaign when the event happened; property campaign_name",
    "link_id": "The link that was clicked; property link_id",
    "link_name": "Name of the link that was clicked; property link_name",
    "link_url": "Address the link leads to; property link_url",
    "list_id": "The list the recipient left; property list_id",
    "list_name": "Name of the list the recipient left; property list_name",
}

TABLE_COMMENTS = {
    "tracks": "One row per event of every collection, without properties; Segment's aggregate table",
    "email_delivered": "One row per Email Delivered: the receiving server accepted the message",
    "email_opened": "One row per Email Opened: the recipient opened the HTML message",
    "email_link_clicked": "One row per Email Link Clicked: the recipient clicked a link",
    "email_unsubscribed": "One row per Email Unsubscribed (or Unsubscribed): the recipient left",
    "email_bounced": "One row per Email Bounced: the receiving server could not or would not accept the message",
    "email_marked_as_spam": "One row per Email Marked as Spam: the recipient marked the message as spam",
}


def timestamptz() -> DateTime:
    return DateTime(timezone=True)


def standard_columns() -> list[Column[Any]]:
    """The columns of `tracks`, which every collection has too: Segment's documentation, "Warehouse Schemas"."""
    return [
        Column("id", Text, nullable=False, comment="messageId of the event, else derived from its content"),
        Column("anonymous_id", Text, comment="anonymousId: the recipient's e-mail address if there is no user id"),
        Column("user_id", Text, comment="userId: the recipient's user id"),
        Column("event", Text, nullable=False, comment="Name of the event's table"),
        Column("event_text", Text, nullable=False, comment="Name of the event as it was sent"),
        Column("context_ip", Text, comment="IP address of the client; context.ip"),
        Column("context_user_agent", Text, comment="User agent of the client; context.userAgent"),
        Column("context_traits_email", Text, comment="E-mail address of the recipient; context.traits.email"),
        Column("original_timestamp", timestamptz(), comment="When it happened, by the sender's clock"),
        Column("sent_at", timestamptz(), comment="When it was sent, by the sender's clock"),
        Column("received_at", timestamptz(), nullable=False, comment="When it was received"),
        Column("timestamp", timestamptz(), nullable=False, comment="When it happened, the sender's clock corrected"),
        Column(
            "uuid_ts",
            timestamptz(),
            nullable=False,
            server_default=func.now(),
            comment="When this row was loaded: the cursor for incremental reading",
        ),
    ]


STANDARD = tuple(column.name for column in standard_columns())


def event_table(metadata: MetaData, schema: str, name: str, properties: Iterable[str] = ()) -> Table:
    """Return a table of events: standard columns, text properties, the time-ordered key, indexes that cost nothing.

    The key is (original_timestamp, id): a redelivery repeats both, and new rows go to the end of the index, where an
    index of random ids would be touched all over.
    """
    table = Table(
        name,
        metadata,
        *standard_columns(),
        *(Column(p, Text, comment=PROPERTY_COMMENTS[p]) for p in properties),
        schema=schema,
        comment=TABLE_COMMENTS.get(name, "One row per event of this collection; made when the first one arrived"),
    )
    key = (table.c.original_timestamp, table.c.id)
    # Two underscores, which no name of an event becomes: an index is a relation too, and must not take a table's name.
    Index(bounded(f"{name}__key"), *key, unique=True, postgresql_nulls_not_distinct=True)
    for column in ("received_at", "timestamp", "uuid_ts"):
        Index(bounded(f"{name}__{column}"), table.c[column], postgresql_using="brin")
    return table


def counts() -> list[Column[Any]]:
    """The columns that say what became of the events: read = loaded + duplicate + rejected + ignored + suppressed."""
    comments = {
        "events_read": "Events found in the input",
        "events_loaded": "New rows in tracks",
        "events_duplicate": "Events that were stored already",
        "events_rejected": "Events kept in rejected_events",
        "events_ignored": "Calls that are no part of this source: identify, page, screen, group, alias",
        "events_suppressed": "Events of people who asked not to be tracked",
        "values_discarded": "Values kept in discarded_values",
        "values_repaired": "Characters PostgreSQL cannot store (U+0000, lone surrogates) that became U+FFFD",
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
        Column("kind", Text, nullable=False, comment="What was loaded: files"),
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
        Column("status", Text, nullable=False, comment="running, done or failed"),
        Column("position", BigInteger, nullable=False, comment="Bytes committed so far, decompressed"),
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
        schema=ops,
        comment="One row per value of a loaded event that found no place in its column",
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
        Column("identifier", Text, nullable=False, comment="Its name in the database, for ever"),
        schema=ops,
        comment="One row per name that was sent and the table or column it became",
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
    """Return everything the migrations make for one source."""
    metadata = MetaData(naming_convention=NAMING)
    event_table(metadata, schema, TRACKS)
    for name, properties in COLLECTIONS.items():
        event_table(metadata, schema, name, (*MAILING, *properties))
    settings(metadata, schema)
    for make in (loads, files, rejected_events, discarded_values, identifiers, source, write_keys):
        make(metadata, ops_schema(schema))
    return metadata
