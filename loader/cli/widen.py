"""Widening a column, from the command line."""

import click

from loader.api import widen
from loader.cli.options import connection_options, json_option
from loader.cli.output import print_json
from loader.config import Settings
from loader.pipeline.widen import WideningPlan, plan_widening
from loader.schema.source import open_warehouse


@click.command(
    "widen",
    epilog="\b\nExamples:\n  selligent-loader widen order_completed revenue\n"
    "  selligent-loader widen order_completed revenue --yes",
)
@click.argument("table")
@click.argument("column")
@click.option("--yes", is_flag=True, help="Do it; without it only what would be done is told.")
@connection_options
@json_option
def widen_command(settings: Settings, as_json: bool, table: str, column: str, yes: bool) -> None:
    """Make a column that was guessed too narrow text, and fill in the values that did not fit.

    Values that are stored keep their spelling, times become ISO 8601 in UTC. The table is rewritten in one transaction,
    in which nobody can read it.
    """
    with open_warehouse(settings) as warehouse:
        plan = plan_widening(settings, warehouse, table, column)
    if not as_json:
        _show(settings, plan)
    filled = widen(settings, plan) if yes else 0
    if as_json:
        print_json({**plan.as_json(), "done": yes, "filled": filled})
    else:
        print(f"done, {filled:,} values are filled in" if yes else "nothing is done yet; --yes does it")


def _show(settings: Settings, plan: WideningPlan) -> None:
    tables = ", ".join(f"{settings.schema}.{table}" for table in plan.tables)
    print(f"{plan.column}: {plan.kind} becomes text in {tables}")
    print(f"to rewrite: about {plan.rows:,} rows, {plan.size / 1e6:,.1f} MB with indexes")
    print(f"to fill in: {plan.values:,} discarded values")
    if plan.views:
        print(f"views made anew, with their grants: {', '.join(plan.views)}")
    if plan.foreign:
        print(f"others' views that depend on it: {', '.join(plan.foreign)}")
