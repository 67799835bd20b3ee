"""Keep what deleted events have contributed to the figures of campaigns."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
#: `figure_sums` reads the new tables. Its reader becomes an empty view, which keeps its grants and the views that read
#: from it; `bring_views_up_to_date` in env.py creates both again.
DROP_FIGURE_SUMS = """
do $$
declare
    columns text;
begin
    if to_regclass({ops} || '.figure_sums') is not null then
        select string_agg(format('null::%s as %I', format_type(atttypid, atttypmod), attname), ', ' order by attnum)
        into columns
        from pg_attribute
        where attrelid = to_regclass({schema} || '.load_health') and attnum > 0 and not attisdropped;
        if columns is not null then
            execute format('create or replace view %s.load_health as select %s where false', {schema}, columns);
        end if;
        execute format('drop view %s.figure_sums', {ops});
    end if;
end
$$
"""


def _quote(text: str, mark: str) -> str:
    return mark + text.replace(mark, 2 * mark) + mark


def _text(name: str, comment: str, **options: object) -> sa.Column[object]:
    return sa.Column(name, sa.Text(), comment=comment, **options)  # type: ignore[arg-type]


def _time(name: str, comment: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), comment=comment)


def _percentiles(name: str) -> sa.Column[object]:
    kind = postgresql.ARRAY(postgresql.DOUBLE_PRECISION())
    return sa.Column(name, kind, comment="Percentiles, as of the deletion")


def _figures(table: str) -> sa.Column[object]:
    comment = f"Sums by the names of the columns of {table}"
    return sa.Column("figures", postgresql.JSONB(), nullable=False, comment=comment)


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    op.add_column(
        "retention",
        sa.Column(
            "is_pending",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Whether events have been deleted that the figures still have",
        ),
        schema=ops,
    )
    op.create_table(
        "retained_campaigns",
        _text("campaign_id", "The campaign", nullable=False),
        _text("campaign_name", "Its latest name"),
        _time("named_at", "When it had that name"),
        _time("first_delivered_at", "Its first delivery"),
        _time("last_delivered_at", "Its last delivery, as of the deletion"),
        _percentiles("seconds_to_open"),
        _percentiles("seconds_to_click"),
        _figures("stored_campaigns"),
        sa.PrimaryKeyConstraint("campaign_id", name=op.f("retained_campaigns_pkey")),
        schema=ops,
        comment="One row per campaign of which events have been deleted for their age: what they had contributed",
    )
    op.create_table(
        "retained_campaign_days",
        _text("campaign_id", "The campaign", nullable=False),
        sa.Column("delivery_day", sa.Date(), nullable=False, comment="Day of delivery in the reporting time zone then"),
        sa.Column("dimensions", postgresql.JSONB(), nullable=False, comment="Values of the setting dimensions then"),
        _figures("stored_campaign_days"),
        sa.PrimaryKeyConstraint("campaign_id", "delivery_day", "dimensions", name=op.f("retained_campaign_days_pkey")),
        schema=ops,
        comment="One row per campaign and day of which events have been deleted: what they had contributed",
    )


def downgrade() -> None:
    ops = op.get_context().version_table_schema
    names = {"ops": ops, "schema": ops.removesuffix("_ops")}
    literals = {key: _quote(_quote(name, '"'), "'") for key, name in names.items()}
    op.execute(sa.text(DROP_FIGURE_SUMS.format(**literals).replace(":", r"\:")))
    op.drop_table("retained_campaign_days", schema=ops)
    op.drop_table("retained_campaigns", schema=ops)
    op.drop_column("retention", "is_pending", schema=ops)
