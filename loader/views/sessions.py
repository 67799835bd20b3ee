"""Run statements in sessions that work at the same time: each begins when those have ended that it depends on."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing

from loader.config import Settings
from loader.postgres.connection import Warehouse
from loader.views.statements import Statement, by_urgency, predecessors

#: Of the statements of a refresh, hardly more than two have work at any time.
SESSIONS = 2
#: How long a cancelled statement may take to end before it is cancelled again.
CANCEL_SECONDS = 1.0


class _Steps:
    """What is left of each step, which begins with its first statement and ends with its last one."""

    def __init__(
        self, statements: Sequence[Statement], began: Callable[[str], None], ended: Callable[[str, float, int], None]
    ) -> None:
        self._left = Counter(statement.step for statement in statements)
        self._began, self._ended = began, ended
        self._started: dict[str, float] = {}
        self._rows: Counter[str] = Counter()

    def begin(self, step: str) -> None:
        if step not in self._started:
            self._started[step] = time.monotonic()
            self._began(step)

    def end(self, step: str, rows: int) -> None:
        self._rows[step] += rows
        self._left[step] -= 1
        if not self._left[step]:
            self._ended(step, time.monotonic() - self._started[step], self._rows[step])


def run_statements(
    settings: Settings,
    statements: Sequence[Statement],
    run: Callable[[Warehouse, Statement], int],
    began: Callable[[str], None],
    ended: Callable[[str, float, int], None],
) -> None:
    """Run each statement in a session, and report when each step begins and when it has ended.

    `run` returns the number of rows that a statement has written; `ended` gets the name of the step, its duration in
    seconds and the number of its rows. Of statements that may begin, the most urgent one comes first. If a statement
    fails, those that run are cancelled, and no other begins.
    """
    before = predecessors(statements)
    waiting = by_urgency(statements, before)
    done: set[int] = set()
    steps = _Steps(statements, began, ended)
    running: dict[Future[int], tuple[int, Warehouse]] = {}
    with ExitStack() as stack:
        idle = [stack.enter_context(closing(Warehouse(settings, "refresh"))) for _ in range(SESSIONS)]
        pool = stack.enter_context(ThreadPoolExecutor(SESSIONS))
        try:
            while waiting or running:
                for number in [number for number in waiting if before[number] <= done][: len(idle)]:
                    waiting.remove(number)
                    session = idle.pop()
                    steps.begin(statements[number].step)
                    running[pool.submit(run, session, statements[number])] = number, session
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    number, session = running.pop(future)
                    steps.end(statements[number].step, future.result())
                    done.add(number)
                    idle.append(session)
        except BaseException:
            _cancel(running)
            raise


def _cancel(running: Mapping[Future[int], tuple[int, Warehouse]]) -> None:
    """Cancel statements until they have ended: one that has not reached the server yet cannot be cancelled."""
    unfinished = set(running)
    while unfinished:
        for future in unfinished:
            _, session = running[future]
            session.cancel()
        unfinished = wait(unfinished, timeout=CANCEL_SECONDS).not_done
