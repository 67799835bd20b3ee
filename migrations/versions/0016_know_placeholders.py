"""Let settings say which identifiers stand for nobody, and how many of the events one person may have."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

SETTINGS = {
    "placeholder_ids": (
        "null, undefined, none, nil, nan, 0, -1, true, false, [object Object], anonymous, guest, unknown, n/a",
        "User ids and addresses that stand for nobody, in any case, separated by commas; blank ones always do",
    ),
    "max_person_share": ("0.05", "check warns of a person with a larger share of the events, from 1,000 events on"),
}


def upgrade() -> None:
    schema = op.get_context().version_table_schema.removesuffix("_ops")
    columns = (sa.column(name, sa.Text()) for name in ("name", "value", "description"))
    rows = [{"name": name, "value": value, "description": text} for name, (value, text) in SETTINGS.items()]
    op.bulk_insert(sa.table("settings", *columns, schema=schema), rows)


def downgrade() -> None:
    schema = op.get_context().version_table_schema.removesuffix("_ops").replace('"', '""')
    op.execute(f'delete from "{schema}".settings where name in {tuple(SETTINGS)}')
