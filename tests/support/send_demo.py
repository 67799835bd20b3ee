"""Send some events with Segment's client, and wait until they are loaded. Run by `make demo`."""

import sys
import time
from datetime import UTC, datetime
from urllib.error import URLError
from urllib.request import urlopen

import segment.analytics as analytics  # type: ignore[import-not-found]

host, write_key = sys.argv[1:]
analytics.write_key, analytics.host, analytics.gzip = write_key, host, True
for number, name in enumerate(("Email Delivered", "Email Opened", "Email Link Clicked")):
    analytics.track(
        "1000426",
        name,
        {"campaign_id": "demo", "campaign_name": "Sent a moment ago", "email_id": "1"},
        context={"traits": {"email": "anna@example.com"}},
        timestamp=datetime.now(UTC).replace(microsecond=1000 * number),
    )
while True:  # the server is starting
    try:
        urlopen(f"{host}/readyz").close()
        break
    except URLError:
        time.sleep(0.2)
analytics.shutdown()
for _ in range(300):
    with urlopen(f"{host}/metrics") as figures:
        if b"\nselligent_stream_spool_bytes 0.0\n" in figures.read():
            break
    time.sleep(0.2)
