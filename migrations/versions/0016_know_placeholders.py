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

#: `recorded_events` gets other columns. `bring_views_up_to_date` in env.py creates it and its only reader again.
#: Replacing the reader by an empty view keeps its grants, and the views that read from it.
DROP_RECORDED_EVENTS = """
do $$
declare
    columns text;
begin
    if to_regclass({ops} || '.recorded_events') is not null then
        select string_agg(format('null::%s as %I', format_type(atttypid, atttypmod), attname), ', ' order by attnum)
        into columns
        from pg_attribute
        where attrelid = to_regclass({schema} || '.load_health') and attnum > 0 and not attisdropped;
        if columns is not null then
            execute format('create or replace view %s.load_health as select %s where false', {schema}, columns);
        end if;
        execute format('drop view %s.recorded_events', {ops});
    end if;
end
$$
"""


def upgrade() -> None:
    drop_recorded_events()
    schema = op.get_context().version_table_schema.removesuffix("_ops")
    columns = (sa.column(name, sa.Text()) for name in ("name", "value", "description"))
    rows = [{"name": name, "value": value, "description": text} for name, (value, text) in SETTINGS.items()]
    op.bulk_insert(sa.table("settings", *columns, schema=schema), rows)


def drop_recorded_events() -> None:
    ops = op.get_context().version_table_schema
    names = {"ops": ops, "schema": ops.removesuffix("_ops")}
    literals = {key: quote(quote(name, '"'), "'") for key, name in names.items()}
    op.execute(sa.text(DROP_RECORDED_EVENTS.format(**literals).replace(":", r"\:")))


def quote(text: str, mark: str) -> str:
    return mark + text.replace(mark, 2 * mark) + mark


def downgrade() -> None:
    drop_recorded_events()
    schema = op.get_context().version_table_schema.removesuffix("_ops").replace('"', '""')
    op.execute(f'delete from "{schema}".settings where name in {tuple(SETTINGS)}')
