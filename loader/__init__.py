"""Selligent's e-mail events in your own PostgreSQL, as Segment's warehouses would have written them."""

__version__ = "0.1.0"
