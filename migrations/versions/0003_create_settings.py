"""Create the settings of the views."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

DEFAULTS = {
    "reporting_time_zone": ("UTC", "Time zone of days in campaign_days"),
    "segment_schemas": ("", "Schemas with the site's Segment data, separated by blanks"),
    "conversion_events": (
        "order_completed:revenue:currency:order_id",
        "Tables of conversions with their columns, table:revenue:currency:order_id, separated by blanks",
    ),
    "transactional_campaigns": ("", "campaign_ids that get no credit for conversions, separated by commas"),
    "machine_agents": (
        "^Mozilla/5[.]0$|bot|crawl|spider|scanner|barracuda|mimecast|proofpoint",
        "User agents of machines that open or click on their own, a regular expression; the first is Apple's prefetch",
    ),
    "proxy_agents": (
        "GoogleImageProxy|YahooMailProxy",
        "User agents of proxies that fetch images when a person opens, a regular expression",
    ),
    "machine_open_seconds": ("5", "An open sooner after its delivery is a machine's"),
    "machine_click_seconds": ("5", "A click sooner after its delivery is a machine's"),
    "burst_seconds": ("2", "Clicks of a message that follow each other within so many seconds are one burst"),
    "burst_links": ("3", "A burst of clicks on so many different links is a machine's"),
    "visit_window": ("5 days", "A visit of the site so long after a click belongs to it"),
    "default_model": (
        "last_human_click",
        "Attribution model of campaigns, campaign_days, campaign_funnel and recipients",
    ),
    "window_last_human_click": ("5 days", "The last click by a person within this time is credited"),
    "window_last_click": ("3 days", "The last click, of people or machines, within this time is credited"),
    "window_last_touch": ("5 days", "The last open or click within this time is credited"),
    "window_last_delivery": ("3 days", "The last delivery within this time is credited"),
    "window_linear_clicks": ("5 days", "All clicks within this time share the credit"),
}


def upgrade() -> None:
    schema = op.get_context().version_table_schema.removesuffix("_ops")
    settings = op.create_table(
        "settings",
        sa.Column("name", sa.Text(), nullable=False, comment="Name of the setting"),
        sa.Column("value", sa.Text(), nullable=False, comment="Its value"),
        sa.Column("description", sa.Text(), nullable=False, comment="What it is for"),
        sa.PrimaryKeyConstraint("name", name=op.f("settings_pkey")),
        schema=schema,
        comment="One row per setting of the views",
    )
    op.bulk_insert(
        settings,
        [{"name": name, "value": value, "description": text} for name, (value, text) in DEFAULTS.items()],
    )


def downgrade() -> None:
    schema = op.get_context().version_table_schema.removesuffix("_ops")
    op.drop_table("settings", schema=schema)
