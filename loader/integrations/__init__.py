"""Send events to other systems: one module for each integration, and what they share."""
