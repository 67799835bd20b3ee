"""Send two users and one event with Segment's client, as a shop would do. Run by `make demo`."""

import sys

import segment.analytics as analytics  # type: ignore[import-not-found]

analytics.host, analytics.write_key = sys.argv[1:]
analytics.identify("1001", {"email": "anna@example.com", "plan": "gold"})
analytics.identify("1002", {"email": "ben@example.com", "plan": "free"})
analytics.track("1001", "Order Completed", {"price": 49.9})
analytics.shutdown()
