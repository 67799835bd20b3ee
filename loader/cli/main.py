"""The entry point `selligent-loader`: run a command, report errors, return an exit code."""

import os
import signal
import sys
import threading

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from loader import logs
from loader.cli.database import db, sample_command
from loader.cli.forward import forward_command
from loader.cli.init import init_command, migrate_command
from loader.cli.integrations import integrations
from loader.cli.keys import keys, sources
from loader.cli.load import load_command
from loader.cli.privacy import privacy
from loader.cli.rejects import rejects
from loader.cli.reports import bi_group, export_command, report_command
from loader.cli.serve import serve_command
from loader.cli.status import check_command, status_command
from loader.cli.views import dictionary_command, grant_command, refresh_command, settings_group
from loader.cli.widen import widen_command
from loader.errors import LoaderError
from loader.terminal.output import print_json
from loader.terminal.progress import show_refresh
from loader.version import __version__

#: Shells with the scripts that complete commands in them.
SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command(
    "completion",
    epilog="\b\nExamples:\n"
    "  selligent-loader completion bash > ~/.local/share/bash-completion/completions/selligent-loader.bash\n"
    "  selligent-loader completion zsh > ~/.zfunc/_selligent-loader\n"
    "  selligent-loader completion fish > ~/.config/fish/completions/selligent-loader.fish",
)
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion_command(context: click.Context, /, shell: str) -> None:
    """Print a script by which a shell completes commands.

    Save it where the shell looks for completions, then open a new shell. For zsh the folder must be in fpath.
    """
    print(SHELLS[shell](commands, {}, "selligent-loader", "_SELLIGENT_LOADER_COMPLETE").source())


#: The commands under the headings that `--help` shows.
GROUPS: dict[str, list[click.Command]] = {
    "Load": [init_command, load_command, rejects, widen_command],
    "Look": [report_command, export_command, bi_group, status_command, check_command, dictionary_command, sources],
    "Serve": [serve_command, keys],
    "Forward": [integrations, forward_command],
    "Protect": [privacy],
    "Maintain": [
        *(migrate_command, refresh_command, settings_group, grant_command, db, sample_command, completion_command),
    ],
}
EPILOG = """\b
Examples:
  selligent-loader init
  selligent-loader load events/ archive/*.gz
  selligent-loader status

Without SELLIGENT_DATABASE_URL (or DATABASE_URL) an embedded PostgreSQL is used.
"""


class GroupedCommands(click.Group):
    """A group whose help lists its commands under headings, with untruncated summaries."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section per heading."""
        for heading, listed in GROUPS.items():
            with formatter.section(heading):
                formatter.write_dl([(str(command.name), command.get_short_help_str(1000)) for command in listed])


@click.group(cls=GroupedCommands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="selligent-loader")
def commands() -> None:
    """Load Selligent's e-mail events into PostgreSQL, in the tables that Segment's warehouses would have."""


for listed in GROUPS.values():
    for command in listed:
        commands.add_command(command)


def main() -> None:
    """Run the command and exit."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    code = run(sys.argv[1:])
    # A thread that is blocked in reading from a pipe would prevent a normal exit.
    if threading.active_count() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code; errors are printed to standard error."""
    logs.configure(logs.Style())
    show_refresh()
    try:
        return commands.main(arguments, prog_name="selligent-loader", standalone_mode=False) or 0
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except LoaderError as exc:
        _report(str(exc), arguments)
        return exc.exit_code
    except BrokenPipeError:  # the reader of standard output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return LoaderError.exit_code
    except OSError as exc:
        _report(str(exc), arguments)
        return LoaderError.exit_code
    except click.Abort:
        _report("interrupted; the next load continues where this one ended", arguments)
        return LoaderError.exit_code


def _report(error: str, arguments: list[str]) -> None:
    if "--json" in arguments:
        print_json({"status": "failed", "error": error})
    logs.report_error(error)
