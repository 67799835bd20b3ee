"""Mark write keys of the company's site and apps; remember the members of segments that queries fill."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    op.add_column(
        "write_keys",
        sa.Column(
            "is_site",
            sa.Boolean(),
            nullable=False,
            server_default=sa.text("false"),
            comment="Whether calls with the key go to integrations only, as those of the company's site and apps",
        ),
        schema=ops,
    )
    op.create_table(
        "segment_members",
        sa.Column("integration_id", postgresql.UUID(as_uuid=False), nullable=False, comment="The integration"),
        sa.Column("segment", sa.Text(), nullable=False, comment="API name of the segment at the target"),
        sa.Column("user_id", sa.Text(), nullable=False, comment="userId of the member"),
        sa.Column(
            "is_delivered",
            sa.Boolean(),
            nullable=False,
            server_default=sa.text("false"),
            comment="Whether the target has accepted the member; otherwise it may have",
        ),
        sa.ForeignKeyConstraint(
            ["integration_id"],
            [f"{ops}.integrations.integration_id"],
            name=op.f("segment_members_integration_id_fkey"),
            ondelete="cascade",
        ),
        sa.PrimaryKeyConstraint("integration_id", "segment", "user_id", name=op.f("segment_members_pkey")),
        schema=ops,
        comment="One row per member of a static segment that a query has filled",
    )


def downgrade() -> None:
    ops = op.get_context().version_table_schema
    op.drop_table("segment_members", schema=ops)
    op.drop_column("write_keys", "is_site", schema=ops)
