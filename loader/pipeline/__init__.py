"""Files become rows, one transaction a chunk; ledger, replay, backfill and widening."""
