"""Say of a load whether others must not run beside it, and of files what else they can be."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COMMENT = "Whether no other load may run beside it"
FILES = {
    "status": ("running, done or failed", "running, done, failed, or left: it was still being written"),
    "position": ("Bytes committed so far, decompressed", "Bytes committed so far, decompressed; of Parquet rows"),
}


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    column = sa.Column("exclusive", sa.Boolean, nullable=False, server_default=sa.false(), comment=COMMENT)
    op.add_column("loads", column, schema=ops)
    for name, (old, new) in FILES.items():
        op.alter_column("files", name, comment=new, existing_comment=old, schema=ops)


def downgrade() -> None:
    ops = op.get_context().version_table_schema
    for name, (old, new) in FILES.items():
        op.alter_column("files", name, comment=old, existing_comment=new, schema=ops)
    op.drop_column("loads", "exclusive", schema=ops)
