"""The tables and columns of a source's schemas, and their version."""
