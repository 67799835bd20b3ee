"""Convert a chunk of raw events into a batch of Arrow tables."""
