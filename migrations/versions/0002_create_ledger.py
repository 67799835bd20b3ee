"""Create what is no analyst's business: the ledger, rejects, discards, names."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def counts() -> list[sa.Column]:
    return [
        sa.Column(
            "events_read",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Events found in the input",
        ),
        sa.Column(
            "events_loaded", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="New rows in tracks"
        ),
        sa.Column(
            "events_duplicate",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Events that were stored already",
        ),
        sa.Column(
            "events_rejected",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Events kept in rejected_events",
        ),
        sa.Column(
            "events_ignored",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Calls that are no part of this source: identify, page, screen, group, alias",
        ),
        sa.Column(
            "events_suppressed",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Events of people who asked not to be tracked",
        ),
        sa.Column(
            "values_discarded",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Values kept in discarded_values",
        ),
        sa.Column(
            "values_repaired",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Characters PostgreSQL cannot store (U+0000, lone surrogates) that became U+FFFD",
        ),
    ]


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    op.create_table(
        "loads",
        sa.Column("load_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Number of the load"),
        sa.Column("kind", sa.Text(), nullable=False, comment="What was loaded: files"),
        sa.Column("status", sa.Text(), nullable=False, comment="running, ok, empty, partial or failed"),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it began",
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), comment="When it ended; null while it runs"),
        sa.Column("host", sa.Text(), nullable=False, comment="Machine it ran on"),
        sa.Column("pid", sa.BigInteger(), nullable=False, comment="Its process there"),
        sa.Column("version", sa.Text(), nullable=False, comment="Version of the loader"),
        sa.Column("files", sa.BigInteger(), server_default=sa.text("0"), nullable=False, comment="Files it read"),
        *counts(),
        sa.Column("error", sa.Text(), comment="Why it failed"),
        sa.PrimaryKeyConstraint("load_id", name=op.f("loads_pkey")),
        schema=ops,
        comment="One row per load",
    )
    op.create_table(
        "files",
        sa.Column(
            "file_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Number of the reading"
        ),
        sa.Column("load_id", sa.BigInteger(), nullable=False, comment="The load"),
        sa.Column("uri", sa.Text(), nullable=False, comment="Where the file is; - for standard input"),
        sa.Column("size", sa.BigInteger(), comment="Size in bytes as stored"),
        sa.Column("fingerprint", sa.Text(), comment="Changes whenever the content may have changed"),
        sa.Column("status", sa.Text(), nullable=False, comment="running, done or failed"),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="Bytes committed so far, decompressed"),
        sa.Column("line", sa.BigInteger(), nullable=False, comment="Lines committed so far"),
        *counts(),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was opened",
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), comment="When it was done"),
        sa.Column("error", sa.Text(), comment="Why it failed"),
        sa.ForeignKeyConstraint(["load_id"], [f"{ops}.loads.load_id"], name=op.f("files_load_id_fkey")),
        sa.PrimaryKeyConstraint("file_id", name=op.f("files_pkey")),
        schema=ops,
        comment="One row per reading of a file by a load",
    )
    op.create_index("files_load_id_idx", "files", ["load_id"], unique=False, schema=ops)
    op.create_index("files_uri_idx", "files", ["uri", "file_id"], unique=False, schema=ops)
    op.create_table(
        "rejected_events",
        sa.Column(
            "rejected_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Number of the reject"
        ),
        sa.Column("load_id", sa.BigInteger(), nullable=False, comment="The load"),
        sa.Column("uri", sa.Text(), nullable=False, comment="The file it was in"),
        sa.Column("line", sa.BigInteger(), nullable=False, comment="Its line there, from 1"),
        sa.Column("raw", sa.LargeBinary(), nullable=False, comment="The bytes as they came"),
        sa.Column("reason", sa.Text(), nullable=False, comment="Code of the reason"),
        sa.Column("detail", sa.Text(), comment="The reason in words"),
        sa.Column(
            "rejected_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When"
        ),
        sa.Column("replayed_at", sa.DateTime(timezone=True), comment="When it was loaded after all"),
        sa.ForeignKeyConstraint(["load_id"], [f"{ops}.loads.load_id"], name=op.f("rejected_events_load_id_fkey")),
        sa.PrimaryKeyConstraint("rejected_id", name=op.f("rejected_events_pkey")),
        schema=ops,
        comment="One row per event that could not be loaded",
    )
    op.create_index("rejected_events_load_id_idx", "rejected_events", ["load_id"], unique=False, schema=ops)
    op.create_table(
        "discarded_values",
        sa.Column("event_id", sa.Text(), nullable=False, comment="id of the event, which is loaded"),
        sa.Column("original_timestamp", sa.DateTime(timezone=True), comment="The other half of the event's key"),
        sa.Column("table_name", sa.Text(), nullable=False, comment="Table the value would have gone to"),
        sa.Column("property", sa.Text(), nullable=False, comment="Path of the property as it was sent"),
        sa.Column("value", sa.Text(), nullable=False, comment="The value as JSON"),
        sa.Column("reason", sa.Text(), nullable=False, comment="Code of the reason"),
        sa.Column("load_id", sa.BigInteger(), nullable=False, comment="The load"),
        sa.Column(
            "discarded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False, comment="When"
        ),
        sa.ForeignKeyConstraint(["load_id"], [f"{ops}.loads.load_id"], name=op.f("discarded_values_load_id_fkey")),
        schema=ops,
        comment="One row per value of a loaded event that found no place in its column",
    )
    op.create_index(
        "discarded_values_table_name_reason_idx", "discarded_values", ["table_name", "reason"], unique=False, schema=ops
    )
    op.create_table(
        "identifiers",
        sa.Column("kind", sa.Text(), nullable=False, comment="table or column"),
        sa.Column("parent", sa.Text(), nullable=False, comment="The table of a column; empty for a table"),
        sa.Column(
            "original", sa.Text(), nullable=False, comment="The name as it was sent; dots join the names of a path"
        ),
        sa.Column("identifier", sa.Text(), nullable=False, comment="Its name in the database, for ever"),
        sa.PrimaryKeyConstraint("kind", "parent", "original", name=op.f("identifiers_pkey")),
        schema=ops,
        comment="One row per name that was sent and the table or column it became",
    )


def downgrade() -> None:
    ops = op.get_context().version_table_schema
    for name in ("identifiers", "discarded_values", "rejected_events", "files", "loads"):
        op.drop_table(name, schema=ops)
