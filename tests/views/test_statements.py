"""The statements of the steps of a refresh, and what each must wait for."""

import re

from loader.config import Settings
from loader.views.rebuild import FreshTables, fresh, share
from loader.views.statements import chain_lengths, predecessors, split
from loader.views.steps import NEW_CHUNKS, read_steps


def test_every_statement_of_the_steps_is_known_by_what_it_writes() -> None:
    statements = [statement for step in read_steps() for statement in split(step.name, step.script)]
    assert len(statements) > 200
    assert [statement.script for statement in statements if not statement.written] == []
    assert [
        statement.script for statement in statements if ";\n" in re.sub("set local .*;\n", "", statement.script)
    ] == []


def test_a_statement_waits_for_what_it_reads_through_views_and_for_readers_of_what_it_changes() -> None:
    script = """
        create temporary table people on commit drop as select 1 as person;
        create temporary view names as select * from people;
        insert into found select * from names;
        insert into found select 2;
        update people set person = 3;
        insert into found select * from people where not exists (select from found);
        delete from others;
    """
    assert predecessors(split("", script)) == [set(), {0}, {0, 1}, set(), {0, 1, 2}, {0, 2, 3, 4}, set()]


def test_an_insert_with_a_conflict_reads_its_table() -> None:
    script = "insert into a select 1;\ninsert into a select 2 on conflict do nothing;\ninsert into a select 3;\n"
    assert predecessors(split("", script)) == [set(), {0}, {1}]


def test_of_statements_that_wait_the_longest_chain_is_counted() -> None:
    assert chain_lengths([set(), set(), {0}, {1, 2}]) == [3, 2, 2, 1]
    assert chain_lengths([]) == []


def test_no_word_of_a_step_is_left_that_makes_a_temporary_table() -> None:
    scripts = [share(step.script) for step in read_steps()]
    assert [script for script in scripts if "temporary table" in script or "on commit" in script] == []


def test_what_a_stage_has_filled_and_changed_is_analyzed_in_the_end() -> None:
    steps = [step for step in read_steps() if step.name != NEW_CHUNKS]
    statements = FreshTables(Settings(None, "selligent"), is_shared=True, indexes={}).statements(steps)
    for step in steps:
        for table in map(fresh, step.tables):
            last = re.compile(rf"(?:insert into|update) {table}\b|analyze {table}$")
            found = [last.search(made.script) for made in statements if made.step[:2] == step.stage]
            assert [match[0] for match in found if match][-1] == f"analyze {table}"
