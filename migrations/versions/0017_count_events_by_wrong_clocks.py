"""Count events whose sender had a wrong clock, and set how wrong a clock may be."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

COUNT = "New rows whose sender had a clock that is wrong by more than max_clock_skew"
SETTING = {
    "name": "max_clock_skew",
    "value": "1 day",
    "description": "Clocks that differ more from the receiver's are not used to correct times; off for any difference",
}


def settings(ops: str) -> sa.TableClause:
    columns = (sa.column(name, sa.Text()) for name in ("name", "value", "description"))
    return sa.table("settings", *columns, schema=ops.removesuffix("_ops"))


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    for table in ("loads", "files"):
        column = sa.Column(
            "events_clock_suspect", sa.BigInteger(), nullable=False, server_default=sa.text("0"), comment=COUNT
        )
        op.add_column(table, column, schema=ops)
    op.bulk_insert(settings(ops), [SETTING])


def downgrade() -> None:
    ops = op.get_context().version_table_schema
    table = settings(ops)
    op.execute(sa.delete(table).where(table.c.name == SETTING["name"]))
    for name in ("loads", "files"):
        op.drop_column(name, "events_clock_suspect", schema=ops)
