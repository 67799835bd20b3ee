"""Index stored events by mailing, then person: a night's events have few mailings, but people all over an index."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

TABLE = "stored_events"
#: By index: its columns now, and before.
INDEXES = {
    "stored_events_person_idx": (["person"], ["person", "mailing"]),
    "stored_events_mailing_idx": (["mailing", "person"], ["mailing"]),
}


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    for index, (columns, _) in INDEXES.items():
        op.drop_index(index, TABLE, schema=ops)
        op.create_index(index, TABLE, columns, schema=ops)


def downgrade() -> None:
    ops = op.get_context().version_table_schema
    for index, (_, columns) in INDEXES.items():
        op.drop_index(index, TABLE, schema=ops)
        op.create_index(index, TABLE, columns, schema=ops)
