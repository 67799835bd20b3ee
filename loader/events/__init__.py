"""What an event is: its fields, identifiers, types of values and outcomes; no database, no files."""
