"""Run statements in sessions that work at the same time: each begins when those have ended that it depends on."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing

from loader.config import Settings
from loader.postgres.connection import Warehouse
from loader.views.statements import Statement, chain_lengths, predecessors

#: Of the statements of a refresh, hardly more than two have work at any time.
SESSIONS = 2


def run_statements(
    settings: Settings,
    statements: Sequence[Statement],
    run: Callable[[Warehouse, Statement], int],
    began: Callable[[str], None],
    ended: Callable[[str, float, int], None],
) -> None:
    """Run each statement in a session, and tell the beginning and the end of each step.

    `run` returns the number of rows that a statement has written; `ended` gets the name of the step, its duration in
    seconds and the number of its rows. If a statement fails, those that run are cancelled, and no other begins.
    """
    before, lengths = predecessors(statements), chain_lengths(predecessors(statements))
    waiting = sorted(range(len(statements)), key=lambda number: -lengths[number])
    done: set[int] = set()
    unfinished = Counter(statement.step for statement in statements)
    started: dict[str, float] = {}
    rows: Counter[str] = Counter()
    running: dict[Future[int], tuple[int, Warehouse]] = {}
    with ExitStack() as stack:
        idle = [stack.enter_context(closing(Warehouse(settings, "refresh"))) for _ in range(SESSIONS)]
        pool = stack.enter_context(ThreadPoolExecutor(SESSIONS))
        try:
            while waiting or running:
                for number in [number for number in waiting if before[number] <= done][: len(idle)]:
                    waiting.remove(number)
                    step, session = statements[number].step, idle.pop()
                    if step not in started:
                        started[step] = time.monotonic()
                        began(step)
                    running[pool.submit(run, session, statements[number])] = number, session
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    number, session = running.pop(future)
                    step = statements[number].step
                    rows[step] += future.result()
                    done.add(number)
                    idle.append(session)
                    unfinished[step] -= 1
                    if not unfinished[step]:
                        ended(step, time.monotonic() - started[step], rows[step])
        except BaseException:
            for _, session in running.values():
                session.cancel()
            raise
