"""The HTTP endpoint that takes events by Segment's tracking API."""
