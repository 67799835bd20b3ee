"""The copy of the write keys on disk, also one that an earlier version wrote."""

import json
from pathlib import Path

from loader.config import Settings
from loader.endpoint.key_cache import KeyCache
from loader.endpoint.write_keys import create_key, digest
from loader.schema.source import open_warehouse

SITE = "https://example.com"


def test_origins_are_in_the_copy_that_is_used_while_the_database_is_away(settings: Settings, tmp_path: Path) -> None:
    copy = tmp_path / "keys.json"
    with open_warehouse(settings) as warehouse:
        key = create_key(warehouse, "site", [SITE], is_site=True)
    KeyCache([settings], copy).close()
    away = Settings("postgresql://127.0.0.1:1/none", settings.schema)
    cache = KeyCache([away], copy)
    assert [(known.origins, known.is_site) for known in cache.find(key)] == [((SITE,), True)]
    assert (cache.is_allowed(SITE), cache.is_allowed(SITE, {"other"}), cache.is_allowed("https://b")) == (
        True,
        False,
        False,
    )
    copy.write_text(json.dumps([{"schema": settings.schema, "key_id": 1, "hash": digest(key).hex()}]))
    assert [(known.origins, known.is_site) for known in KeyCache([away], copy).find(key)] == [((), False)]
