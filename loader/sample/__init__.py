"""Made-up events that look like a mid-size sender's."""
