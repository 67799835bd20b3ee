"""Create the source's nickname and its write keys."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    op.create_table(
        "source",
        sa.Column("is_this", sa.Boolean(), nullable=False, server_default=sa.true(), comment="Always true: one row"),
        sa.Column("nickname", sa.Text(), nullable=False, comment="What people call the source"),
        sa.PrimaryKeyConstraint("is_this", name=op.f("source_pkey")),
        sa.CheckConstraint("is_this", name=op.f("source_is_this_check")),
        schema=ops,
        comment="One row at most: the source that is loaded into this schema",
    )
    op.create_table(
        "write_keys",
        sa.Column("key_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Number of the key"),
        sa.Column("label", sa.Text(), nullable=False, comment="Who sends with it"),
        sa.Column("hash", sa.LargeBinary(), nullable=False, comment="SHA-256 of the key, which is kept nowhere"),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
            comment="When it was made or imported",
        ),
        sa.Column("last_used_at", sa.DateTime(timezone=True), comment="When events last came with it, to some seconds"),
        sa.Column("revoked_at", sa.DateTime(timezone=True), comment="Since when it is refused; null while it is valid"),
        sa.PrimaryKeyConstraint("key_id", name=op.f("write_keys_pkey")),
        schema=ops,
        comment="One row per write key with which senders may send events",
    )
    op.create_index("write_keys_hash_idx", "write_keys", ["hash"], unique=True, schema=ops)


def downgrade() -> None:
    ops = op.get_context().version_table_schema
    op.drop_table("write_keys", schema=ops)
    op.drop_table("source", schema=ops)
