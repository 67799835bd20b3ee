"""SQLAlchemy metadata of the event tables: those of the migrations, and those created at run time."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column, DateTime, Index, MetaData, Table, Text, func

from loader.events.identifiers import shorten

#: The table of all events.
TRACKS = "tracks"
#: Documented properties of each collection, besides MAILING, which all have (Selligent's and Segment's e-mail
#: specifications).
COLLECTIONS: dict[str, tuple[str, ...]] = {
    "email_delivered": (),
    "email_opened": (),
    "email_link_clicked": ("link_id", "link_name", "link_url"),
    "email_unsubscribed": ("list_id", "list_name"),
    "email_bounced": (),
    "email_marked_as_spam": (),
}
MAILING = ("email_id", "email_subject", "campaign_id", "campaign_name")
#: All of them, which are text in every event table, also in those created at run time: ids may look like numbers.
TEXT_PROPERTIES = frozenset(MAILING).union(*COLLECTIONS.values())

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

#: Storage parameters for tables that only grow. By default, PostgreSQL vacuums only after inserts of a fifth of the
#: table; these keep the visibility map and the statistics up to date after every load. Rows frozen at the first vacuum
#: are not rewritten by a later one.
AUTOVACUUM = {
    "autovacuum_vacuum_insert_scale_factor": 0.01,
    "autovacuum_analyze_scale_factor": 0.02,
    "autovacuum_freeze_min_age": 0,
}


def timestamptz() -> DateTime:
    return DateTime(timezone=True)


def standard_columns() -> list[Column[Any]]:
    """Return the columns of `tracks`, which every collection has too (Segment, "Warehouse Schemas")."""
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
            comment="When the transaction that loaded this row began; its position for readers is in loaded_chunks",
        ),
    ]


STANDARD = tuple(column.name for column in standard_columns())


def event_table(metadata: MetaData, schema: str, name: str, properties: Iterable[str] = ()) -> Table:
    """Return an event table with standard columns, text properties, the unique key and BRIN indexes.

    The key is (original_timestamp, id). A redelivered event repeats both. New rows go to the end of this index, whereas
    an index on random ids would be modified all over.
    """
    table = Table(
        name,
        metadata,
        *standard_columns(),
        *(Column(p, Text, comment=PROPERTY_COMMENTS[p]) for p in properties),
        schema=schema,
        comment=TABLE_COMMENTS.get(name, "One row per event of this collection; made when the first one arrived"),
        postgresql_with=AUTOVACUUM,
    )
    key = (table.c.original_timestamp, table.c.id)
    # An index shares its namespace with tables. No table name derived from an event has two underscores in a row.
    Index(shorten(f"{name}__key"), *key, unique=True, postgresql_nulls_not_distinct=True)
    for column in ("received_at", "timestamp", "uuid_ts"):
        Index(shorten(f"{name}__{column}"), table.c[column], postgresql_using="brin")
    return table
