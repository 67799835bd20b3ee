"""A chunk of raw lines becomes a batch of Arrow tables."""
