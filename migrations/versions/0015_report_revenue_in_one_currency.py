"""Report revenue in one currency, subtract refunds, and keep amounts that cannot be read visible."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

SETTINGS = {
    "reporting_currency": ("", "Currency of all sums of revenue; empty for the most frequent one, which is then kept"),
    "exchange_rates": (
        "",
        "Table schema.table with date, currency and rate: how much of the reporting currency a unit is from then on",
    ),
    "refund_events": (
        "order_refunded",
        "Tables of refunds, as in conversion_events; columns that are not named are those of the first conversion",
    ),
}
CONVERSIONS = (
    sa.Column("credited_at", sa.DateTime(timezone=True), comment="When it was; of a refund, when its order was"),
    sa.Column("amount", sa.Numeric(), comment="Revenue in the reporting currency; null without a rate"),
    sa.Column("unread", sa.Text(), comment="Revenue that cannot be read, as it was sent"),
    sa.Column(
        "is_refund", sa.Boolean(), nullable=False, server_default=sa.false(), comment="Whether it lowers revenue"
    ),
)
PERSON = "stored_conversions_person_idx"
#: Indexes: for credits, refunds of an order, and what is left out of sums.
INDEXES = """
create index stored_conversions_person_idx on {ops}.stored_conversions (person, credited_at);
create index stored_conversions_refunds_idx on {ops}.stored_conversions (order_id) where is_refund;
create index stored_conversions_left_out_idx on {ops}.stored_conversions (conversion)
where is_counted and (unread is not null or (revenue is not null and amount is null));
"""
CURRENCIES = (
    sa.Column("currency", sa.Text(), nullable=False, comment="The currency"),
    sa.Column("conversions", sa.BigInteger(), nullable=False, comment="Conversions with revenue in it"),
)
RATES = (
    sa.Column("currency", sa.Text(), nullable=False, comment="The currency"),
    sa.Column("day", sa.Date(), nullable=False, comment="The first day of the rate"),
    sa.Column("rate", sa.Numeric(), nullable=False, comment="The reporting currency's units in one of this currency"),
)
#: Views keep their identity, grants and the views that others built on them, but read from nothing until the older
#: version's definitions replace theirs.
DETACH_VIEWS = """
do $$
declare
    found record;
begin
    for found in
        select pg_class.oid::regclass as place, (
            select string_agg(
                format('null::%s as %I', format_type(atttypid, atttypmod), attname), ', ' order by attnum
            )
            from pg_attribute
            where attrelid = pg_class.oid and attnum > 0 and not attisdropped
        ) as columns
        from pg_class
        where relkind = 'v' and relnamespace in ({schema}::regnamespace, {ops}::regnamespace)
    loop
        execute format('create or replace view %s as select %s where false', found.place, found.columns);
    end loop;
end
$$
"""


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    schema = ops.removesuffix("_ops")
    settings = sa.table(
        "settings", *(sa.column(name, sa.Text()) for name in ("name", "value", "description")), schema=schema
    )
    rows = [{"name": name, "value": value, "description": text} for name, (value, text) in SETTINGS.items()]
    op.bulk_insert(settings, rows)
    for column in CONVERSIONS:
        op.add_column("stored_conversions", column, schema=ops)
    op.alter_column("stored_conversions", "order_key", nullable=True, schema=ops)
    op.drop_index(PERSON, "stored_conversions", schema=ops)
    op.execute(INDEXES.format(ops=quote(ops)))
    op.create_table(
        "stored_currencies",
        *CURRENCIES,
        sa.PrimaryKeyConstraint("currency", name="stored_currencies_pkey"),
        schema=ops,
        comment="One row per currency of the site's conversions",
    )
    op.create_table(
        "stored_rates",
        *RATES,
        sa.PrimaryKeyConstraint("currency", "day", name="stored_rates_pkey"),
        schema=ops,
        comment="One row per currency and day: the exchange rate by which amounts were computed",
    )
    op.add_column(
        "refreshed", sa.Column("reporting_currency", sa.Text(), comment="Currency of the figures"), schema=ops
    )


def downgrade() -> None:
    ops = op.get_context().version_table_schema
    schema = ops.removesuffix("_ops")
    names = {key: "'" + quote(name).replace("'", "''") + "'" for key, name in (("ops", ops), ("schema", schema))}
    op.execute(sa.text(DETACH_VIEWS.format(**names).replace(":", r"\:")))
    op.drop_column("refreshed", "reporting_currency", schema=ops)
    op.execute(f"drop view if exists {quote(ops)}.site_rates")
    for table in ("stored_rates", "stored_currencies"):
        op.drop_table(table, schema=ops)
    for index in ("stored_conversions_left_out_idx", "stored_conversions_refunds_idx", PERSON):
        op.drop_index(index, "stored_conversions", schema=ops)
    op.execute(f"delete from {quote(ops)}.stored_conversions where order_key is null")
    op.alter_column("stored_conversions", "order_key", nullable=False, schema=ops)
    for column in CONVERSIONS:
        op.drop_column("stored_conversions", column.name, schema=ops)
    op.create_index(PERSON, "stored_conversions", ["person", "converted_at"], schema=ops)
    op.execute(f"delete from {quote(schema)}.settings where name in {tuple(SETTINGS)}")
