"""Load files into PostgreSQL, one transaction per chunk; ledger, replay, backfill and widening."""
