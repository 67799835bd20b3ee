"""Reword comments of tables and columns."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

#: What is commented, its comment, and the comment before.
COMMENTS = (
    ("column", "identifiers.identifier", "Its name in the database, permanently", "Its name in the database, for ever"),
    ("column", "incidents.began_at", "When the first failure was reported", "When the first failure was told"),
    (
        "column",
        "incidents.ended_at",
        "When the recovery was reported; null until then",
        "When the recovery was told; null until then",
    ),
    (
        "table",
        "incidents",
        "One row per incident: consecutive failed loads, reported to the webhook once",
        "One row per incident: loads failing one after another, told to the webhook once",
    ),
    (
        "table",
        "announced_columns",
        "One row per column that existed when new columns were last reported to the webhook",
        "One row per column that was there when the webhook was last told of new ones",
    ),
)


def upgrade() -> None:
    for kind, name, comment, _ in COMMENTS:
        write(kind, name, comment)


def downgrade() -> None:
    for kind, name, _, comment in COMMENTS:
        write(kind, name, comment)


def write(kind: str, name: str, comment: str) -> None:
    schema = op.get_context().version_table_schema.replace('"', '""')
    op.execute(f"comment on {kind} \"{schema}\".{name} is '{comment}'")
