"""Hand the views to other tools: files, Superset, dbt."""
