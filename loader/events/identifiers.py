"""Derive PostgreSQL identifiers from the names that a source gives its events and properties."""

import hashlib
import re

#: PostgreSQL's limit in bytes: NAMEDATALEN - 1.
MAX_LENGTH = 63

#: Key words that cannot name a column or table unquoted: `pg_get_keywords()`, categories R and T, PostgreSQL 15 to 18.
RESERVED_WORDS = frozenset(
    """
    all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation
    column concurrently constraint create cross current_catalog current_date current_role current_schema current_time
    current_timestamp current_user default deferrable desc distinct do else end except false fetch for foreign freeze
    from full grant group having ilike in initially inner intersect into is isnull join lateral leading left like limit
    localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing primary references
    returning right select session_user similar some symmetric system_user table tablesample then to trailing true
    union unique user using variadic verbose when where window with
    """.split()  # noqa: SIM905
)

#: Names that no column can have, even quoted (PostgreSQL, "System Columns").
SYSTEM_COLUMNS = frozenset({"cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"})

#: Tables that Segment creates for its own calls (Segment, "Warehouse Schemas").
STANDARD_TABLES = frozenset({"accounts", "aliases", "groups", "identifies", "pages", "screens", "tracks", "users"})

#: Relations that `migrations/` and `sql/` create in the source's schema, except collections, and those of its companion
#: that views read.
SHIPPED_RELATIONS = frozenset(
    """
    attributed_revenue_days campaign_days campaign_funnel campaign_names campaigns cohorts conversions
    conversions_attributed discarded_values email_events email_messages figure_sums identities identity_coverage
    link_days links list_growth load_health loaded_chunks loads machine_opens mailbox_domain_days mailbox_domains
    placeholders recipients recorded_events rejected_events send_times settings site_conversions site_events
    site_identifies site_rates site_visits visitors
    """.split()  # noqa: SIM905
)

#: Tables by the snake case of an event name, where Selligent's name differs from Segment's e-mail specification.
ALIASES = {"unsubscribed": "email_unsubscribed"}

# go-snakecase keeps a prefix that is already snake case. Splitting that prefix too gives the same words.
_WORD = re.compile("[A-Z0-9]+[a-z0-9]*|[a-z0-9]+")


def snake(name: str) -> str:
    """Return a name in snake case by the rules of Segment's go-snakecase, empty without an ASCII letter or digit.

    >>> snake("emailId"), snake("HTMLEmail"), snake("iOSVersion"), snake("2FA Enabled"), snake("Cízǔ"), snake("été")
    ('email_id', 'htmlemail', 'i_osversion', '2fa_enabled', 'c_z', 't')
    """
    return "_".join(_WORD.findall(name)).lower()


def column_identifier(original: str) -> str | None:
    """Return the column name for a property or a dotted path, None without an ASCII letter or digit.

    >>> column_identifier("context.traits.email"), column_identifier("Order"), column_identifier("2faEnabled")
    ('context_traits_email', '_order', '_2fa_enabled')
    """
    return _identifier(snake(original), original, taken=SYSTEM_COLUMNS)


def table_identifier(event: str) -> str | None:
    """Return the table name for an event, None without an ASCII letter or digit.

    >>> table_identifier("Order Completed"), table_identifier("Unsubscribed"), table_identifier("Users")
    ('order_completed', 'email_unsubscribed', '_users')
    """
    slug = snake(event)
    return _identifier(ALIASES.get(slug, slug), event, taken=STANDARD_TABLES | SHIPPED_RELATIONS)


def _identifier(slug: str, original: str, *, taken: frozenset[str]) -> str | None:
    """Return a valid identifier for a slug: prefixed with `_` if it is reserved or taken, then shortened to the limit.

    >>> _identifier("a" * 64, "A" * 64, taken=frozenset())
    'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_d53eda7a'
    """
    if not slug:
        return None
    if slug[0].isdigit() or slug in RESERVED_WORDS or slug in taken:
        slug = f"_{slug}"
    return shorten(slug, original)


def is_context(column: str) -> bool:
    """Return whether a column belongs to the context. Properties with such a name are discarded as `reserved`."""
    return column.startswith("context_")


def shorten(identifier: str, original: str | None = None) -> str:
    """Return an identifier of at most 63 bytes; a longer one ends in a hash of its full original name.

    >>> shorten("a" * 64)
    'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa_ffe054fe'
    """
    if len(identifier) <= MAX_LENGTH:
        return identifier
    digest = hashlib.sha256((original or identifier).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    # Without `__` before the digest, the identifier maps to itself when it is sent as a name.
    return f"{identifier[: MAX_LENGTH - 9].rstrip('_')}_{digest}"
