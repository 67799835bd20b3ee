"""Forward the events of the spool to integrations: configuration, cursors, delivery, retries, dead letters."""
