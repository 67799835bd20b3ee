"""Create the tables behind the views, which are kept up to date after loads."""

import re

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = """
create table {ops}.stored_events (
    id text not null,
    original_timestamp timestamptz,
    event text not null,
    "timestamp" timestamptz not null,
    user_id text,
    recipient text not null,
    email text,
    campaign_id text not null,
    campaign_name text,
    email_id text not null,
    email_subject text,
    link_id text,
    link_name text,
    link_url text,
    context_user_agent text,
    person text not null,
    matched_by text not null,
    delivery integer not null,
    delivered_at timestamptz,
    first_delivered_at timestamptz,
    actor text,
    rule text
);
create unique index stored_events_key on {ops}.stored_events (original_timestamp, id) nulls not distinct;
create index stored_events_person_idx on {ops}.stored_events (person, campaign_id, email_id);
create index stored_events_campaign_id_idx on {ops}.stored_events (campaign_id, "timestamp");
create index stored_events_timestamp_idx on {ops}.stored_events ("timestamp");

create table {ops}.stored_identifications (
    email text,
    user_id text,
    identified_at timestamptz not null,
    primary key (email, user_id)
);

create table {ops}.stored_people (
    recipient text primary key,
    person text not null,
    matched_by text not null
);

create table {ops}.stored_names (
    campaign_id text primary key,
    campaign_name text,
    named_at timestamptz
);

create table {ops}.stored_messages (
    person text not null,
    campaign_id text not null,
    email_id text not null,
    delivery integer not null,
    email text,
    delivered_at timestamptz,
    bounced_at timestamptz,
    opened_at timestamptz,
    last_opened_at timestamptz,
    human_opened_at timestamptz,
    last_human_opened_at timestamptz,
    clicked_at timestamptz,
    last_clicked_at timestamptz,
    human_clicked_at timestamptz,
    last_human_clicked_at timestamptz,
    unsubscribed_at timestamptz,
    complained_at timestamptz,
    opens bigint not null,
    human_opens bigint not null,
    clicks bigint not null,
    human_clicks bigint not null,
    primary key (person, campaign_id, email_id, delivery)
);
create index stored_messages_campaign_id_idx on {ops}.stored_messages (campaign_id, delivered_at);
create index stored_messages_delivered_at_idx on {ops}.stored_messages (delivered_at);

create table {ops}.stored_conversions (
    schema_name text not null,
    event text not null,
    id text not null,
    order_id text,
    person text,
    converted_at timestamptz,
    revenue numeric,
    currency text,
    model text not null,
    attribution_window interval not null,
    campaign_id text,
    email_id text,
    delivery integer,
    touch text,
    touched_at timestamptz,
    credit numeric not null
);
create index stored_conversions_id_idx on {ops}.stored_conversions (id);
create index stored_conversions_person_idx on {ops}.stored_conversions (person);
create index stored_conversions_campaign_id_idx on {ops}.stored_conversions (campaign_id);
create index stored_conversions_converted_at_idx on {ops}.stored_conversions (converted_at);

create table {ops}.stored_campaigns (
    campaign_id text primary key,
    first_delivered_at timestamptz,
    last_delivered_at timestamptz,
    attempted bigint not null,
    delivered bigint not null,
    bounced bigint not null,
    arrived bigint not null,
    opened bigint not null,
    human_opened bigint not null,
    clicked bigint not null,
    human_clicked bigint not null,
    seen bigint not null,
    human_seen bigint not null,
    unsubscribed bigint not null,
    complained bigint not null,
    recipients bigint not null,
    recipients_opened bigint not null,
    recipients_human_opened bigint not null,
    recipients_clicked bigint not null,
    recipients_human_clicked bigint not null,
    seconds_to_open double precision[],
    seconds_to_click double precision[],
    conversions numeric not null,
    converted bigint not null,
    revenue numeric not null
);

create table {ops}.stored_campaign_days (
    campaign_id text not null,
    delivery_day date not null,
    attempted bigint not null,
    delivered bigint not null,
    bounced bigint not null,
    opened bigint not null,
    human_opened bigint not null,
    clicked bigint not null,
    human_clicked bigint not null,
    unsubscribed bigint not null,
    complained bigint not null,
    conversions numeric not null,
    revenue numeric not null,
    primary key (campaign_id, delivery_day)
);

create table {ops}.stored_funnel (
    campaign_id text primary key,
    delivered bigint not null,
    opened bigint not null,
    clicked bigint not null,
    visited bigint not null,
    converted bigint not null
);

create table {ops}.stored_links (
    campaign_id text not null,
    email_id text not null,
    link text not null,
    link_id text,
    link_name text,
    link_url text,
    clicks bigint not null,
    human_clicks bigint not null,
    people bigint not null,
    human_people bigint not null,
    primary key (campaign_id, email_id, link)
);

create table {ops}.stored_recipients (
    person text primary key,
    email text,
    first_delivered_at timestamptz,
    last_delivered_at timestamptz,
    last_human_opened_at timestamptz,
    last_human_clicked_at timestamptz,
    unsubscribed_at timestamptz,
    complained_at timestamptz,
    delivered bigint not null,
    bounced bigint not null,
    human_opened bigint not null,
    human_clicked bigint not null,
    conversions bigint not null,
    revenue numeric not null,
    attributed_revenue numeric not null
);

create table {ops}.refreshed (
    loaded_until timestamptz not null,
    definition text not null
);

comment on table {ops}.stored_events is 'One row per e-mail event with its person and message: behind email_events';
comment on table {ops}.stored_identifications is 'One row per address and user: when an e-mail told of both last';
comment on table {ops}.stored_people is 'One row per address that was sent instead of a user id: whose it is';
comment on table {ops}.stored_names is 'One row per campaign: its latest name';
comment on table {ops}.stored_messages is 'One row per message: behind email_messages';
comment on table {ops}.stored_conversions is 'One row per conversion, model and message: behind conversions_attributed';
comment on table {ops}.stored_campaigns is 'One row per campaign: behind campaigns';
comment on table {ops}.stored_campaign_days is 'One row per campaign and day of delivery: behind campaign_days';
comment on table {ops}.stored_funnel is 'One row per campaign: behind campaign_funnel';
comment on table {ops}.stored_links is 'One row per campaign, e-mail and link: behind links';
comment on table {ops}.stored_recipients is 'One row per person: behind recipients';
comment on table {ops}.refreshed is 'One row: up to when events are stored, and a hash of what the figures are made by';
"""

COLUMNS = {
    "actor": "human, machine or unknown",
    "arrived": "Messages delivered and not bounced",
    "attempted": "Messages delivered or bounced",
    "attributed_revenue": "Revenue credited by the default model",
    "attribution_window": "The longest time from touch to conversion",
    "bounced": "Messages that bounced",
    "bounced_at": "When it bounced first",
    "campaign_id": "The campaign; empty for none",
    "campaign_name": "The campaign's name",
    "clicked": "Messages (in stored_funnel: people) with a click",
    "clicked_at": "The first click",
    "clicks": "Clicks",
    "complained": "Messages marked as spam",
    "complained_at": "When it was marked as spam",
    "context_user_agent": "User agent of the client",
    "conversions": "Conversions, by the default model where credit matters",
    "converted": "Messages (in stored_funnel: people) with a credited conversion",
    "converted_at": "When it was",
    "credit": "Share of the conversion, 0 without an e-mail",
    "currency": "Currency of the revenue",
    "definition": "Hash of settings and SQL",
    "delivered": "Messages (in stored_funnel: people) with a delivery",
    "delivered_at": "The delivery it belongs to",
    "delivery": "Number of the delivery, 0 before the first",
    "delivery_day": "Day of the delivery in the reporting time zone",
    "email": "The recipient's address in lower case",
    "email_id": "The e-mail; empty for none",
    "email_subject": "The e-mail's subject",
    "event": "Its table",
    "first_delivered_at": "The first delivery",
    "human_clicked": "Messages with a click by a person",
    "human_clicked_at": "The first click by a person",
    "human_clicks": "Clicks by people",
    "human_opened": "Messages with an open by a person",
    "human_opened_at": "The first open by a person",
    "human_opens": "Opens by people",
    "human_people": "People who clicked",
    "human_seen": "Messages with an open or click by a person",
    "id": "Its id in its table",
    "identified_at": "When that was told last",
    "last_clicked_at": "The last click",
    "last_delivered_at": "The last delivery",
    "last_human_clicked_at": "The last click by a person",
    "last_human_opened_at": "The last open by a person",
    "last_opened_at": "The last open",
    "link": "What the link is known by",
    "link_id": "The link",
    "link_name": "The link's name",
    "link_url": "The link's address",
    "loaded_until": "Events loaded before are stored, but for late commits",
    "matched_by": "How the person was found",
    "model": "The attribution model",
    "named_at": "When it had this name last",
    "opened": "Messages (in stored_funnel: people) with an open",
    "opened_at": "The first open",
    "opens": "Opens",
    "order_id": "The order",
    "original_timestamp": "When it happened, by the sender's clock",
    "people": "People whose message was clicked",
    "person": "A user id, else an e-mail address",
    "recipient": "What the event names its recipient by",
    "recipients": "People with a delivery",
    "recipients_clicked": "People with a click",
    "recipients_human_clicked": "People who clicked",
    "recipients_human_opened": "People who opened",
    "recipients_opened": "People with an open",
    "revenue": "Revenue",
    "rule": "The rule that says who did it",
    "schema_name": "Schema of the site's data",
    "seconds_to_click": "Median and 90th percentile, from delivery to a person's first click",
    "seconds_to_open": "Median and 90th percentile, from delivery to a person's first open",
    "seen": "Messages with an open or click",
    "timestamp": "When it happened",
    "touch": "What is credited",
    "touched_at": "When that was",
    "unsubscribed": "Messages by which the recipient unsubscribed",
    "unsubscribed_at": "When the recipient unsubscribed",
    "user_id": "The recipient's user id",
    "visited": "People who came to the site",
}

DROP_VIEWS = """
do $$
declare
    views text;
begin
    select string_agg(format('%I.%I', schemaname, viewname), ', ') into views
    from pg_views
    where schemaname in ('{schema}', '{schema}_ops');
    if views is not null then
        execute 'drop view ' || views;
    end if;
end
$$
"""
STORED = (
    *("stored_events", "stored_identifications", "stored_people", "stored_names", "stored_messages"),
    *("stored_conversions", "stored_campaigns", "stored_campaign_days", "stored_funnel", "stored_links"),
    *("stored_recipients", "refreshed"),
)


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    quoted = '"' + ops.replace('"', '""') + '"'
    op.execute(TABLES.format(ops=quoted))
    for table, body in re.findall(r"create table {ops}[.](\w+) \((.*?)\n\);", TABLES, re.DOTALL):
        for column in re.findall(r'^    ("?(?!primary key)\w+"?) ', body, re.MULTILINE):
            text = COLUMNS[column.strip('"')].replace("'", "''")
            op.execute(f"comment on column {quoted}.{table}.{column} is '{text}'")


def downgrade() -> None:
    """Drop the views too, which read from these tables."""
    ops = op.get_context().version_table_schema
    op.execute(DROP_VIEWS.format(schema=ops.removesuffix("_ops").replace("'", "''")))
    for name in STORED:
        op.drop_table(name, schema=ops)
