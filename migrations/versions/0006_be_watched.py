"""Remember what a webhook was told, and keep the growing tables' statistics and visibility maps fresh."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

#: By default a table is vacuumed once a fifth of it is new, which of 20 million rows is weeks later.
AUTOVACUUM = (
    ("autovacuum_vacuum_insert_scale_factor", "0.01"),
    ("autovacuum_analyze_scale_factor", "0.02"),
    ("autovacuum_freeze_min_age", "0"),
)
EVENT_TABLES = """
do $$
declare
    event_table regclass;
begin
    for event_table in
        select pg_class.oid
        from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        where nspname = '{schema}' and relkind = 'r'
            and exists (select from pg_attribute where attrelid = pg_class.oid and attname = 'uuid_ts')
    loop
        execute 'alter table ' || event_table::text || ' {change}';
    end loop;
end
$$
"""


def change_event_tables(change: str) -> None:
    """Change all tables of events, those too that were made when their first event arrived."""
    schema = op.get_context().version_table_schema.removesuffix("_ops")
    op.execute(EVENT_TABLES.format(schema=schema.replace("'", "''"), change=change))


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    change_event_tables(f"set ({', '.join(f'{name} = {value}' for name, value in AUTOVACUUM)})")
    op.create_table(
        "incidents",
        sa.Column("incident_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Its number"),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False, comment="When the first failure was told"),
        sa.Column("ended_at", sa.DateTime(timezone=True), comment="When the recovery was told; null until then"),
        sa.Column("error", sa.Text(), nullable=False, comment="The first failure"),
        sa.PrimaryKeyConstraint("incident_id", name=op.f("incidents_pkey")),
        schema=ops,
        comment="One row per incident: loads failing one after another, told to the webhook once",
    )
    op.create_table(
        "announced_columns",
        sa.Column("table_name", sa.Text(), nullable=False, comment="Table of events"),
        sa.Column("column_name", sa.Text(), nullable=False, comment="Its column"),
        sa.PrimaryKeyConstraint("table_name", "column_name", name=op.f("announced_columns_pkey")),
        schema=ops,
        comment="One row per column that was there when the webhook was last told of new ones",
    )


def downgrade() -> None:
    ops = op.get_context().version_table_schema
    op.drop_table("announced_columns", schema=ops)
    op.drop_table("incidents", schema=ops)
    change_event_tables(f"reset ({', '.join(name for name, _ in AUTOVACUUM)})")
