"""Store by which settings figures were computed, and when messages were unsubscribed from or marked as spam last."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

COLUMNS = {
    "refreshed": (
        sa.Column("settings", JSONB(), comment="The settings by which the figures were computed"),
        sa.Column("site_definition", sa.Text(), comment="Hash of the SQL that reads the site's tables"),
    ),
    "stored_messages": (
        sa.Column("last_unsubscribed_at", sa.DateTime(timezone=True), comment="When the recipient unsubscribed last"),
        sa.Column("last_complained_at", sa.DateTime(timezone=True), comment="When it was marked as spam last"),
    ),
}
CLICKS = "stored_messages_clicks_idx"


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    for table, columns in COLUMNS.items():
        for column in columns:
            op.add_column(table, column, schema=ops)
    op.create_index(
        CLICKS,
        "stored_messages",
        ["person", "mailing"],
        schema=ops,
        postgresql_where=sa.text("human_clicked_at is not null"),
    )


def downgrade() -> None:
    ops = op.get_context().version_table_schema
    op.drop_index(CLICKS, "stored_messages", schema=ops)
    for table, columns in COLUMNS.items():
        for column in columns:
            op.drop_column(table, column.name, schema=ops)
