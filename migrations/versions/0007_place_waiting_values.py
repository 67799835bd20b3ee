"""Number discarded values, and find those that wait for a column in the order of their events."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

KINDS = "What was loaded: files, or rejects once more (replay)"
FILES = "What was loaded: files"
NUMBER = "Number of the value: those of one event in the order of its properties"


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    number = sa.Column("discard_id", sa.BigInteger, sa.Identity(always=True), nullable=False, comment=NUMBER)
    op.add_column("discarded_values", number, schema=ops)
    op.alter_column("loads", "kind", comment=KINDS, existing_comment=FILES, schema=ops)
    op.create_index(
        "discarded_values_waiting_idx",
        "discarded_values",
        ["table_name", "original_timestamp", "event_id"],
        schema=ops,
        postgresql_where=sa.text("reason = 'no_column'"),
    )


def downgrade() -> None:
    ops = op.get_context().version_table_schema
    op.alter_column("loads", "kind", comment=FILES, existing_comment=KINDS, schema=ops)
    op.drop_index("discarded_values_waiting_idx", "discarded_values", schema=ops)
    op.drop_column("discarded_values", "discard_id", schema=ops)
