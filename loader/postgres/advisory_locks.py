"""First keys of the advisory locks, arbitrary numbers. The second key is the hash of a name."""

#: Changes of a source's tables: migrations, and loads that add columns.
SCHEMA = 7355608
#: A running load; shared by all of its connections.
LOAD = 7355609
#: A file that is being read.
FILE = 7355610
#: A refresh of the figures behind the views.
REFRESH = 7355611
#: The start of a load.
BEGIN = 7355612
#: Incidents, and their notifications by the webhook.
INCIDENT = 7355613
#: A backfill of discarded values into columns.
FILL = 7355614
#: The members of a segment that a query fills.
MEMBERS = 7355615
#: The list of suppressed people; shared by chunks that are being written.
SUPPRESSION = 7355616
#: An erasure, or the deletion of what is older than a policy allows.
ERASURE = 7355617

#: Lock timeout for changing a table. Statements queued behind the change wait as long.
TABLE_TIMEOUT = "2s"
