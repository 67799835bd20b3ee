"""The command `widen`."""

import click

from loader.api import widen
from loader.cli.options import connection_options, json_option
from loader.config import Settings
from loader.pipeline.widen import WideningPlan, plan_widening
from loader.schema.source import open_warehouse
from loader.terminal.output import print_json


@click.command(
    "widen",
    epilog="\b\nExamples:\n  selligent-loader widen order_completed revenue\n"
    "  selligent-loader widen order_completed revenue --yes",
)
@click.argument("table")
@click.argument("column")
@click.option("--yes", is_flag=True, help="Make the change; without this option, only print it.")
@connection_options
@json_option
def widen_command(settings: Settings, as_json: bool, table: str, column: str, yes: bool) -> None:
    """Change the type of a column to text.

    Also writes the discarded values that did not fit. Stored values keep their text form; times become ISO 8601 in UTC.
    The table is rewritten in one transaction, during which nobody can read it.
    """
    with open_warehouse(settings) as warehouse:
        plan = plan_widening(settings, warehouse, table, column)
    if not as_json:
        _show(settings, plan)
    filled = widen(settings, plan) if yes else 0
    if as_json:
        print_json({**plan.as_json(), "done": yes, "filled": filled})
    else:
        print(
            f"done, {filled:,} discarded values were written"
            if yes
            else "nothing has been changed; run again with --yes to do it"
        )


def _show(settings: Settings, plan: WideningPlan) -> None:
    tables = ", ".join(f"{settings.schema}.{table}" for table in plan.tables)
    print(f"{plan.column}: {plan.kind} becomes text in {tables}")
    print(f"to rewrite: about {plan.rows:,} rows, {plan.size / 1e6:,.1f} MB with indexes")
    print(f"to write: {plan.values:,} discarded values")
    if plan.views:
        print(f"views to recreate, with their grants: {', '.join(plan.views)}")
    if plan.foreign:
        print(f"other views that depend on it: {', '.join(plan.foreign)}")
