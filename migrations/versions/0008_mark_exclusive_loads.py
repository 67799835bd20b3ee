"""Say of a load whether others must not run beside it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COMMENT = "Whether no other load may run beside it"


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    column = sa.Column("exclusive", sa.Boolean, nullable=False, server_default=sa.false(), comment=COMMENT)
    op.add_column("loads", column, schema=ops)


def downgrade() -> None:
    op.drop_column("loads", "exclusive", schema=op.get_context().version_table_schema)
