"""Every night at 3 in Airflow 2.9 or newer: load, then check; on Sundays a full refresh between them.

The exit codes determine what Airflow does next.

SELLIGENT_DATABASE_URL and SELLIGENT_NOTIFY_URL are in the environment of the workers.
"""

import subprocess
from collections.abc import Sequence
from datetime import datetime, timedelta

from airflow.decorators import dag, task
from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException

SUNDAY = 7
#: The exception for each exit code: Airflow tries a failure again, and does not try the others again.
OUTCOMES = {
    1: (AirflowException, "failed; the next try goes on where this one ended"),
    2: (AirflowFailException, "arguments or settings are wrong"),
    3: (AirflowFailException, "events are rejected, or something is not whole"),
    4: (AirflowSkipException, "another load runs"),
    5: (AirflowFailException, "data is stale"),
}


def run(arguments: Sequence[str]) -> None:
    """Run the command, whose output goes to the task's log, and raise the exception for its exit code."""
    code = subprocess.run(["selligent-loader", *arguments], check=False).returncode
    if code:
        error, meaning = OUTCOMES.get(code, (AirflowException, "was killed"))
        raise error(f"selligent-loader {arguments[0]}: {meaning} (exit code {code})")


@dag(
    schedule="0 3 * * *",
    start_date=datetime(2025, 1, 1),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=15)},
)
def selligent_loader() -> None:
    """Load new files, then check the warehouse, also if the load was skipped because another one was running.

    On Sundays all rows of the site's data are compared and all events counted, not only new ones.
    """

    @task
    def load() -> None:
        run(["load", "/data/selligent"])

    @task(trigger_rule="none_failed")
    def refresh_fully(logical_date: datetime | None = None) -> None:
        if logical_date and logical_date.isoweekday() == SUNDAY:
            run(["refresh", "--full"])

    @task(trigger_rule="none_failed")
    def check() -> None:
        run(["check"])

    load() >> refresh_fully() >> check()


selligent_loader()
