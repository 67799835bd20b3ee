"""What an event is: its fields, identifiers, value types and outcomes. Uses no database and no files."""
