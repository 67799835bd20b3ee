"""Store events on disk between the endpoint and the load."""
