"""SQLAlchemy metadata of the tables in the ops schema that forwarding to integrations needs."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION, JSONB, UUID

from loader.schema.event_tables import timestamptz


def integrations(metadata: MetaData, ops: str) -> Table:
    """Return the table of integrations."""
    table = Table(
        "integrations",
        metadata,
        Column(
            "integration_id",
            UUID(as_uuid=False),
            primary_key=True,
            server_default=func.gen_random_uuid(),
            comment="Identity, also in the names of files beside the spool",
        ),
        Column("name", Text, nullable=False, comment="Name, unique in the source"),
        Column("kind", Text, nullable=False, comment="What it sends to: webhook, segment, …"),
        Column("settings", JSONB, nullable=False, comment="Settings of the kind, by name"),
        Column("secret", LargeBinary, comment="Secret, encrypted with a key that is not in the database"),
        Column("mapping", Text, comment="Mapping of events and properties, in TOML"),
        _flag("send_personal_data", "Whether e-mail addresses, IP addresses and user agents are sent"),
        _flag("allow_http", "Whether it may send without encryption"),
        _flag("allow_private", "Whether it may send to private addresses"),
        Column("retry_for", Interval, nullable=False, comment="How long a batch is tried before it is undelivered"),
        Column("backlog_limit", BigInteger, nullable=False, comment="Bytes of segments that are kept for it at most"),
        Column("status", Text, nullable=False, server_default=text("'enabled'"), comment="enabled, paused or disabled"),
        Column("status_reason", Text, comment="Why it is not enabled"),
        Column("created_at", timestamptz(), nullable=False, server_default=func.now(), comment="When it was added"),
        CheckConstraint("status in ('enabled', 'paused', 'disabled')", name="integrations_status_check"),
        schema=ops,
        comment="One row per integration that events are forwarded to",
    )
    Index("integrations_name_idx", table.c.name, unique=True)
    return table


def _flag(name: str, comment: str) -> Column[Any]:
    return Column(name, Boolean, nullable=False, server_default=false(), comment=comment)


def _integration_id(ops: str, **options: Any) -> Column[Any]:
    key = ForeignKey(f"{ops}.integrations.integration_id", ondelete="cascade")
    return Column("integration_id", UUID(as_uuid=False), key, nullable=False, comment="The integration", **options)


def _count(name: str, comment: str) -> Column[Any]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"), comment=comment)


def forwarding(metadata: MetaData, ops: str) -> Table:
    """Return the table of cursors."""
    return Table(
        "forwarding",
        metadata,
        _integration_id(ops, primary_key=True),
        Column("spool", Text, primary_key=True, comment="Identity of the spool that is read"),
        Column("host", Text, nullable=False, comment="Machine with the spool"),
        Column("folder", Text, nullable=False, comment="Folder of the source in the spool"),
        Column("segment", Text, nullable=False, comment="Segment up to which events are delivered or undelivered"),
        Column("position", BigInteger, nullable=False, comment="Bytes of that segment, decompressed"),
        _flag("is_complete", "Whether the segment is closed and has no more events"),
        _count("events_delivered", "Events that the target has accepted"),
        _count("events_undelivered", "Events that became dead letters"),
        _count("events_skipped", "Events that were not meant for the target"),
        Column("failures", JSONB, nullable=False, server_default=text("'{}'"), comment="Failures by reason"),
        Column("events_per_second", DOUBLE_PRECISION, nullable=False, server_default=text("0"), comment="Rate"),
        Column("lag_events", BigInteger, comment="Events that wait; null if not counted yet"),
        Column("lag_seconds", DOUBLE_PRECISION, comment="Age of the oldest event that waits"),
        _count("waiting_bytes", "Size of the segments with events that wait"),
        Column("failing_since", timestamptz(), comment="When requests began to fail; null while they succeed"),
        Column("error", Text, comment="The last failure"),
        Column("alerted_at", timestamptz(), comment="When the failure was reported to the webhook for people"),
        Column("delivered_at", timestamptz(), comment="When the target last accepted events"),
        Column("updated_at", timestamptz(), nullable=False, comment="When this row was written"),
        schema=ops,
        comment="One row per integration and spool: how far its events are forwarded",
    )


def undelivered_events(metadata: MetaData, ops: str) -> Table:
    """Return the table of dead letters."""
    table = Table(
        "undelivered_events",
        metadata,
        Column("undelivered_id", BigInteger, Identity(always=True), primary_key=True, comment="Number"),
        _integration_id(ops),
        Column("origin", Text, nullable=False, comment="Where the event is: spool, segment and position, or a file"),
        Column("message_id", Text, nullable=False, comment="messageId of the event"),
        Column("event_text", Text, comment="Name of the event as it was sent"),
        Column("raw", LargeBinary, nullable=False, comment="The event as it was received"),
        Column("reason", Text, nullable=False, comment="Code of the reason"),
        Column("status", Integer, comment="HTTP status of the last answer"),
        Column("answer", Text, comment="What the target said"),
        Column("attempts", Integer, nullable=False, comment="How often it was sent"),
        Column("failed_at", timestamptz(), nullable=False, server_default=func.now(), comment="When it was given up"),
        schema=ops,
        comment="One row per event that an integration could not deliver",
    )
    Index("undelivered_events_origin_idx", table.c.integration_id, table.c.origin, unique=True)
    return table


def segment_members(metadata: MetaData, ops: str) -> Table:
    """Return the table of the members of segments that queries fill."""
    return Table(
        "segment_members",
        metadata,
        _integration_id(ops, primary_key=True),
        Column("segment", Text, primary_key=True, comment="API name of the segment at the target"),
        Column("user_id", Text, primary_key=True, comment="userId of the member"),
        _flag("is_delivered", "Whether the target has accepted the member; otherwise it may have"),
        schema=ops,
        comment="One row per member of a static segment that a query has filled",
    )
