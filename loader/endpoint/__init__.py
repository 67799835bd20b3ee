"""The HTTP endpoint that receives events through Segment's tracking API."""
