"""Add integrations, how far events are forwarded to each, and the events that could not be delivered."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def _flag(name: str, comment: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default=sa.text("false"), nullable=False, comment=comment)


def _count(name: str, comment: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment=comment)


def _time(name: str, comment: str, **options: object) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), comment=comment, **options)  # type: ignore[arg-type]


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    op.create_table(
        "integrations",
        sa.Column(
            "integration_id",
            postgresql.UUID(as_uuid=False),
            server_default=sa.text("gen_random_uuid()"),
            nullable=False,
            comment="Identity, also in the names of files beside the spool",
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="Name, unique in the source"),
        sa.Column("kind", sa.Text(), nullable=False, comment="What it sends to: webhook, segment, …"),
        sa.Column("settings", postgresql.JSONB(), nullable=False, comment="Settings of the kind, by name"),
        sa.Column("secret", sa.LargeBinary(), comment="Secret, encrypted with a key that is not in the database"),
        sa.Column("mapping", sa.Text(), comment="Mapping of events and properties, in TOML"),
        _flag("send_personal_data", "Whether e-mail addresses, IP addresses and user agents are sent"),
        _flag("allow_http", "Whether it may send without encryption"),
        _flag("allow_private", "Whether it may send to private addresses"),
        sa.Column(
            "retry_for", sa.Interval(), nullable=False, comment="How long a batch is tried before it is undelivered"
        ),
        sa.Column(
            "backlog_limit", sa.BigInteger(), nullable=False, comment="Bytes of segments that are kept for it at most"
        ),
        sa.Column(
            "status",
            sa.Text(),
            server_default=sa.text("'enabled'"),
            nullable=False,
            comment="enabled, paused or disabled",
        ),
        sa.Column("status_reason", sa.Text(), comment="Why it is not enabled"),
        _time("created_at", "When it was added", server_default=sa.func.now(), nullable=False),
        sa.CheckConstraint("status in ('enabled', 'paused', 'disabled')", name=op.f("integrations_status_check")),
        sa.PrimaryKeyConstraint("integration_id", name=op.f("integrations_pkey")),
        schema=ops,
        comment="One row per integration that events are forwarded to",
    )
    op.create_index("integrations_name_idx", "integrations", ["name"], unique=True, schema=ops)
    op.create_table(
        "forwarding",
        sa.Column("integration_id", postgresql.UUID(as_uuid=False), nullable=False, comment="The integration"),
        sa.Column("spool", sa.Text(), nullable=False, comment="Identity of the spool that is read"),
        sa.Column("host", sa.Text(), nullable=False, comment="Machine with the spool"),
        sa.Column("folder", sa.Text(), nullable=False, comment="Folder of the source in the spool"),
        sa.Column(
            "segment", sa.Text(), nullable=False, comment="Segment up to which events are delivered or undelivered"
        ),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="Bytes of that segment, decompressed"),
        _flag("is_complete", "Whether the segment is closed and has no more events"),
        _count("events_delivered", "Events that the target has accepted"),
        _count("events_undelivered", "Events that became dead letters"),
        _count("events_skipped", "Events that were not meant for the target"),
        sa.Column(
            "failures",
            postgresql.JSONB(),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="Failures by reason",
        ),
        sa.Column(
            "events_per_second",
            postgresql.DOUBLE_PRECISION(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Rate",
        ),
        sa.Column("lag_events", sa.BigInteger(), comment="Events that wait; null if not counted yet"),
        sa.Column("lag_seconds", postgresql.DOUBLE_PRECISION(), comment="Age of the oldest event that waits"),
        _count("waiting_bytes", "Size of the segments with events that wait"),
        _time("failing_since", "When requests began to fail; null while they succeed"),
        sa.Column("error", sa.Text(), comment="The last failure"),
        _time("alerted_at", "When the failure was reported to the webhook for people"),
        _time("delivered_at", "When the target last accepted events"),
        _time("updated_at", "When this row was written", nullable=False),
        sa.ForeignKeyConstraint(
            ["integration_id"],
            [f"{ops}.integrations.integration_id"],
            name=op.f("forwarding_integration_id_fkey"),
            ondelete="cascade",
        ),
        sa.PrimaryKeyConstraint("integration_id", "spool", name=op.f("forwarding_pkey")),
        schema=ops,
        comment="One row per integration and spool: how far its events are forwarded",
    )
    op.create_table(
        "undelivered_events",
        sa.Column("undelivered_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Number"),
        sa.Column("integration_id", postgresql.UUID(as_uuid=False), nullable=False, comment="The integration"),
        sa.Column(
            "origin", sa.Text(), nullable=False, comment="Where the event is: spool, segment and position, or a file"
        ),
        sa.Column("message_id", sa.Text(), nullable=False, comment="messageId of the event"),
        sa.Column("event_text", sa.Text(), comment="Name of the event as it was sent"),
        sa.Column("raw", sa.LargeBinary(), nullable=False, comment="The event as it was received"),
        sa.Column("reason", sa.Text(), nullable=False, comment="Code of the reason"),
        sa.Column("status", sa.Integer(), comment="HTTP status of the last answer"),
        sa.Column("answer", sa.Text(), comment="What the target said"),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="How often it was sent"),
        _time("failed_at", "When it was given up", server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["integration_id"],
            [f"{ops}.integrations.integration_id"],
            name=op.f("undelivered_events_integration_id_fkey"),
            ondelete="cascade",
        ),
        sa.PrimaryKeyConstraint("undelivered_id", name=op.f("undelivered_events_pkey")),
        schema=ops,
        comment="One row per event that an integration could not deliver",
    )
    op.create_index(
        "undelivered_events_origin_idx", "undelivered_events", ["integration_id", "origin"], unique=True, schema=ops
    )


def downgrade() -> None:
    ops = op.get_context().version_table_schema
    for table in ("undelivered_events", "forwarding", "integrations"):
        op.drop_table(table, schema=ops)
