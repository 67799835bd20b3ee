"""Create the tables of events: tracks and Selligent's six collections."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

MAILING = ("email_id", "email_subject", "campaign_id", "campaign_name")
TABLES = {
    "tracks": (
        (),
        "One row per event of every collection, without properties; Segment's aggregate table",
    ),
    "email_delivered": (
        MAILING,
        "One row per Email Delivered: the receiving server accepted the message",
    ),
    "email_opened": (
        MAILING,
        "One row per Email Opened: the recipient opened the HTML message",
    ),
    "email_link_clicked": (
        (*MAILING, "link_id", "link_name", "link_url"),
        "One row per Email Link Clicked: the recipient clicked a link",
    ),
    "email_unsubscribed": (
        (*MAILING, "list_id", "list_name"),
        "One row per Email Unsubscribed (or Unsubscribed): the recipient left",
    ),
    "email_bounced": (
        MAILING,
        "One row per Email Bounced: the receiving server could not or would not accept the message",
    ),
    "email_marked_as_spam": (
        MAILING,
        "One row per Email Marked as Spam: the recipient marked the message as spam",
    ),
}
PROPERTIES = {
    "email_id": "The mailing, not one person's copy of it; property email_id",
    "email_subject": "Subject line of the mailing; property email_subject",
    "campaign_id": "The campaign the mailing belongs to; property campaign_id",
    "campaign_name": "Name of the campaign when the event happened; property campaign_name",
    "link_id": "The link that was clicked; property link_id",
    "link_name": "Name of the link that was clicked; property link_name",
    "link_url": "Address the link leads to; property link_url",
    "list_id": "The list the recipient left; property list_id",
    "list_name": "Name of the list the recipient left; property list_name",
}


def standard_columns() -> list[sa.Column]:
    return [
        sa.Column("id", sa.Text(), nullable=False, comment="messageId of the event, else derived from its content"),
        sa.Column(
            "anonymous_id", sa.Text(), comment="anonymousId: the recipient's e-mail address if there is no user id"
        ),
        sa.Column("user_id", sa.Text(), comment="userId: the recipient's user id"),
        sa.Column("event", sa.Text(), nullable=False, comment="Name of the event's table"),
        sa.Column("event_text", sa.Text(), nullable=False, comment="Name of the event as it was sent"),
        sa.Column("context_ip", sa.Text(), comment="IP address of the client; context.ip"),
        sa.Column("context_user_agent", sa.Text(), comment="User agent of the client; context.userAgent"),
        sa.Column("context_traits_email", sa.Text(), comment="E-mail address of the recipient; context.traits.email"),
        sa.Column("original_timestamp", sa.DateTime(timezone=True), comment="When it happened, by the sender's clock"),
        sa.Column("sent_at", sa.DateTime(timezone=True), comment="When it was sent, by the sender's clock"),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="When it was received"),
        sa.Column(
            "timestamp",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When it happened, the sender's clock corrected",
        ),
        sa.Column(
            "uuid_ts",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When this row was loaded: the cursor for incremental reading",
        ),
    ]


def events_schema() -> str:
    return op.get_context().version_table_schema.removesuffix("_ops")


def upgrade() -> None:
    schema = events_schema()
    for name, (properties, comment) in TABLES.items():
        columns = [sa.Column(p, sa.Text(), comment=PROPERTIES[p]) for p in properties]
        op.create_table(name, *standard_columns(), *columns, schema=schema, comment=comment)
        key = ["original_timestamp", "id"]
        op.create_index(f"{name}__key", name, key, unique=True, schema=schema, postgresql_nulls_not_distinct=True)
        for column in ("received_at", "timestamp", "uuid_ts"):
            op.create_index(f"{name}__{column}", name, [column], schema=schema, postgresql_using="brin")


DROP_VIEWS = """
do $$
declare
    views text;
begin
    select string_agg(format('%I.%I', schemaname, viewname), ', ') into views
    from pg_views
    where schemaname = '{schema}';
    if views is not null then
        execute 'drop view ' || views;
    end if;
end
$$
"""


def downgrade() -> None:
    """Drop the views that stand on the tables too; one of another schema on top of them stops it."""
    schema = events_schema()
    op.execute(DROP_VIEWS.format(schema=schema.replace("'", "''")))
    for name in reversed(TABLES):
        op.drop_table(name, schema=events_schema())
