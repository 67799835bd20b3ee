"""Connect to PostgreSQL, run statements and COPY. No other package imports the driver."""
