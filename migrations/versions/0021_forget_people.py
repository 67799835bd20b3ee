"""Add the list of suppressed people, the log of erasures, and the policy of retention."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

SETTINGS = {
    "personal_properties": (
        "",
        "Columns of properties with personal data, beside addresses, ids, IPs and user agents; separated by commas",
    ),
}
#: 32 bytes of some 366 random bits, made in the database, so that they are not in the SQL of an offline migration.
RANDOM_KEY = "sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _now(name: str) -> sa.Column[object]:
    now = sa.text("now()")
    return sa.Column(name, sa.DateTime(timezone=True), server_default=now, nullable=False, comment="When")


def _time(name: str, comment: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), comment=comment)


def upgrade() -> None:
    ops = op.get_context().version_table_schema
    op.create_table(
        "suppression_key",
        sa.Column("is_this", sa.Boolean(), server_default=sa.true(), nullable=False, comment="Always true: one row"),
        sa.Column("key", sa.LargeBinary(), nullable=False, comment="Secret key of the hashes of people"),
        sa.Column(
            "version",
            sa.BigInteger(),
            server_default=sa.text("1"),
            nullable=False,
            comment="Raised by each change of the list",
        ),
        sa.CheckConstraint("is_this", name="suppression_key_is_this_check"),
        sa.PrimaryKeyConstraint("is_this", name=op.f("suppression_key_pkey")),
        schema=ops,
        comment="One row: the key of the hashes of people",
    )
    op.execute(sa.text(f"insert into {_quote(ops)}.suppression_key (key) values ({RANDOM_KEY})".replace(":", r"\:")))
    op.create_table(
        "suppressed",
        sa.Column("digest", sa.LargeBinary(), nullable=False, comment="Keyed hash of a user id or an e-mail address"),
        sa.Column(
            "sieve", sa.Integer(), nullable=False, comment="Keyed hash of 24 bits, with which loads preselect events"
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="requested, or erased"),
        _now("added_at"),
        sa.PrimaryKeyConstraint("digest", name=op.f("suppressed_pkey")),
        schema=ops,
        comment="One row per identity of a person whose events are not loaded",
    )
    op.create_table(
        "erasures",
        sa.Column(
            "erasure_id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="Number of the erasure"
        ),
        sa.Column(
            "subject", sa.LargeBinary(), nullable=False, comment="Keyed hash of the identities that were asked for"
        ),
        sa.Column("mode", sa.Text(), nullable=False, comment="erase or anonymize"),
        sa.Column(
            "status",
            sa.Text(),
            nullable=False,
            comment="running, deleted (figures are still to be computed) or done",
        ),
        _now("requested_at"),
        _time("finished_at", "When it was done"),
        sa.Column("requested_by", sa.Text(), nullable=False, comment="User, host and database role"),
        sa.Column("identities", sa.Integer(), nullable=False, comment="Number of user ids and addresses of the person"),
        sa.Column(
            "removed",
            postgresql.JSONB(),
            server_default=sa.text("'{}'"),
            nullable=False,
            comment="What was removed: count by place",
        ),
        sa.Column(
            "unreachable",
            postgresql.JSONB(),
            server_default=sa.text("'[]'"),
            nullable=False,
            comment="What could not be reached",
        ),
        sa.PrimaryKeyConstraint("erasure_id", name=op.f("erasures_pkey")),
        schema=ops,
        comment="One row per erasure of a person",
    )
    op.create_table(
        "retention",
        sa.Column("kind", sa.Text(), nullable=False, comment="events, raw (the spool's loaded segments) or rejects"),
        sa.Column("kept_for", postgresql.INTERVAL(), nullable=False, comment="How long they are kept"),
        _time("applied_at", "When older ones were last deleted"),
        sa.PrimaryKeyConstraint("kind", name=op.f("retention_pkey")),
        schema=ops,
        comment="One row per kind of data that is deleted after some time",
    )
    names = (sa.column(name, sa.Text()) for name in ("name", "value", "description"))
    rows = [{"name": name, "value": value, "description": text} for name, (value, text) in SETTINGS.items()]
    op.bulk_insert(sa.table("settings", *names, schema=ops.removesuffix("_ops")), rows)


def downgrade() -> None:
    ops = op.get_context().version_table_schema
    for table in ("retention", "erasures", "suppressed", "suppression_key"):
        op.drop_table(table, schema=ops)
    settings = sa.table("settings", sa.column("name", sa.Text()), schema=ops.removesuffix("_ops"))
    op.execute(settings.delete().where(settings.c.name.in_(SETTINGS)))
