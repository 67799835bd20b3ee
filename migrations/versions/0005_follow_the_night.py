"""Index what is stored behind the views for the upkeep after a load."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OPENERS = "People who opened or clicked"


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    op.drop_constraint(op.f("stored_messages_pkey"), "stored_messages", schema=ops)
    op.create_index("stored_messages_person_idx", "stored_messages", ["person"], schema=ops)
    op.create_index(
        "stored_events_clicked_idx",
        "stored_events",
        ["campaign_id"],
        schema=ops,
        postgresql_where=sa.text("event = 'email_link_clicked'"),
    )
    column = sa.Column("recipients_human_seen", sa.BigInteger, nullable=False, server_default="0", comment=OPENERS)
    op.add_column("stored_campaigns", column, schema=ops)


def downgrade() -> None:
    ops = op.get_context().version_table_schema
    op.drop_column("stored_campaigns", "recipients_human_seen", schema=ops)
    op.drop_index("stored_events_clicked_idx", "stored_events", schema=ops)
    op.drop_index("stored_messages_person_idx", "stored_messages", schema=ops)
    op.create_primary_key(
        op.f("stored_messages_pkey"), "stored_messages", ["person", "campaign_id", "email_id", "delivery"], schema=ops
    )
