"""The statements of a script: what each reads and writes, and for which others it must wait."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_COMMENT = re.compile(r"--.*")
_SETTING = re.compile(r"(?:set local|reset) (\w+)")
_WRITTEN = re.compile(
    r"create (?:temporary )?(?:table|view) (\w+)|create (?:unique )?index \w+ on (\w+)"
    r"|(?:insert into|(?<!do )update|delete from|drop (?:view|table)|alter table|analyze) (\w+)",
    re.IGNORECASE,
)
_ADDITION = re.compile(r"insert into (\w+)(?!.*\bon conflict\b)", re.DOTALL)
_VIEW = re.compile(r"create temporary view (\w+)")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of a step, with the planner's settings that the step has made for it."""

    step: str
    script: str
    written: frozenset[str]
    #: All words: names of tables and of much else.
    named: frozenset[str]
    #: The table to which it adds rows whatever there is: none, or one.
    extended: frozenset[str] = frozenset()

    @property
    def is_drop(self) -> bool:
        """Whether it only frees disk and memory."""
        return self.script.startswith("drop table")


def split(step: str, script: str) -> list[Statement]:
    """Return the statements of a script, each ended by a semicolon at the end of a line.

    >>> script = "set local jit to on;\\nanalyze a;\\nreset jit;\\n-- New;\\ninsert into b select * from a;"
    >>> [(statement.script, *statement.written) for statement in split("02_people", script)]
    [('set local jit to on;\\nanalyze a', 'a'), ('insert into b select * from a', 'b')]
    """
    settings: dict[str, str] = {}
    statements = []
    for part in re.split(r";\s*(?:\n|$)", _COMMENT.sub("", script)):
        text = part.strip()
        if setting := _SETTING.match(text):
            settings.pop(setting[1], None)
            if text.startswith("set"):
                settings[setting[1]] = f"{text};\n"
        elif text:
            written = frozenset(name for names in _WRITTEN.findall(text) for name in names if name)
            words = re.findall(r"\w+", text)
            addition = _ADDITION.match(text)
            extended = written if addition and words.count(addition[1]) == 1 else frozenset[str]()
            statements.append(
                Statement(step, f"{''.join(settings.values())}{text}", written, frozenset(words), extended)
            )
    return statements


def predecessors(statements: Sequence[Statement]) -> list[set[int]]:
    """Return for each statement the numbers of those before it that must have ended before it begins.

    These write a table that it names, or name a table that it writes; but two that add rows to a table do not wait for
    each other. Whoever names a view names what it reads.

    >>> script = "insert into b select * from a;\\ninsert into b select * from c;\\ndelete from a;\\nanalyze b;"
    >>> predecessors(split("", script))
    [set(), set(), {0}, {0, 1}]
    """
    views: dict[str, frozenset[str]] = {}
    named = []
    for statement in statements:
        names = statement.named.union(*(views[name] for name in statement.named & views.keys()))
        if view := _VIEW.search(statement.script):
            views[view[1]] = names
        named.append(names)

    def must_wait(second: int, first: int) -> bool:
        shared = statements[first].written & named[second] | statements[second].written & named[first]
        return bool(shared - (statements[first].extended & statements[second].extended))

    return [{first for first in range(second) if must_wait(second, first)} for second in range(len(statements))]


def chain_lengths(before: Sequence[set[int]]) -> list[int]:
    """Return for each statement how many wait for each other from it on.

    >>> chain_lengths([set(), {0}, {0}, {1}])
    [3, 2, 1, 1]
    """
    lengths = [1] * len(before)
    for number in reversed(range(len(before))):
        for first in before[number]:
            lengths[first] = max(lengths[first], lengths[number] + 1)
    return lengths


def by_urgency(statements: Sequence[Statement], before: Sequence[set[int]]) -> list[int]:
    """Return the numbers of statements: first those that only free disk, then those that most others wait for in a row.

    >>> statements = split("", "create table a as select 1;\\ncreate table b as select * from a;\\ndrop table a;")
    >>> by_urgency(statements, predecessors(statements))
    [2, 0, 1]
    """
    lengths = chain_lengths(before)
    return sorted(range(len(statements)), key=lambda number: (not statements[number].is_drop, -lengths[number]))
