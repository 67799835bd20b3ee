"""Store the origins that may use a write key, and the client that last used it."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    op.add_column(
        "write_keys",
        sa.Column(
            "allowed_origins",
            sa.ARRAY(sa.Text()),
            nullable=False,
            server_default=sa.text("'{}'"),
            comment="Origins of web pages whose scripts may read the answers of the endpoint",
        ),
        schema=ops,
    )
    op.add_column(
        "write_keys",
        sa.Column(
            "last_client", sa.Text(), comment="Name and version of the client that last used it, of its User-Agent"
        ),
        schema=ops,
    )


def downgrade() -> None:
    ops = op.get_context().version_table_schema
    op.drop_column("write_keys", "last_client", schema=ops)
    op.drop_column("write_keys", "allowed_origins", schema=ops)
