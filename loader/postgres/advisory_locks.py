"""Locks: the numbers of our advisory locks, each with a name as its second key. The numbers are arbitrary, and ours."""

#: Changes of a source's tables: migrations, and loads that add columns.
SCHEMA = 7355608
#: A load that runs; shared by all of its connections.
LOAD = 7355609
#: A file that is being read.
FILE = 7355610
#: A refresh of what is stored behind the views.
REFRESH = 7355611
#: The begin of a load.
BEGIN = 7355612
#: What people are told of loads.
INCIDENT = 7355613
#: Values put into the columns they waited for.
FILL = 7355614

#: How long whoever holds a table that we change is waited for; what waits behind us waits as long.
TABLE_TIMEOUT = "2s"
