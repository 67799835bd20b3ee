"""The queries that extract the values of events."""

from loader.events.values import BIGINT
from loader.transform.extract import Column, extraction_queries


def test_values_that_do_not_fit_their_columns_are_extracted_together() -> None:
    """Each extraction parses the event: one a column would take time for each column and each byte of the event."""
    columns = [Column(f"c{n}", BIGINT, (("properties", f"c{n}"), ("properties", f"C{n}"))) for n in range(50)]
    ((tables, query),) = extraction_queries({"a": columns}, [], set())
    assert (tables, len(query.leftovers)) == (["a"], 150)
    assert query.sql.count("json_extract(") == 1
    assert query.sql.count("json_extract_string(") == 1


def test_columns_that_many_tables_share_are_queried_a_few_times_only() -> None:
    shared = [Column(f"context_{n}", "text", (("context", str(n)),)) for n in range(400)]
    layouts = {f"t{n}": [*shared, Column(f"p{n}", "text", (("properties", str(n)),))] for n in range(1000)}
    queries = list(extraction_queries(layouts, shared, set()))
    assert [table for tables, _ in queries for table in tables] == list(layouts)
    assert sum(len(query.columns) for _, query in queries) < 3 * (len(shared) + len(layouts))
