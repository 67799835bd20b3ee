"""What a terminal shows: tables, numbers, progress."""
