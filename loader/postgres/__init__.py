"""Connections, statements and COPY on PostgreSQL; the only package that imports the driver."""
