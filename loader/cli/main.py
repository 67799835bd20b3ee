"""The entry point `selligent-loader`: run a command, report errors, return an exit code."""

import os
import signal
import sys
import threading
from importlib import import_module

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from loader import logs
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


#: The modules and names of the commands under the headings that `--help` shows. A module is imported when its command
#: is used, so that no command waits for what others need.
GROUPS: dict[str, dict[str, str]] = {
    "Load": {
        "init": "init.init_command",
        "load": "load.load_command",
        "rejects": "rejects.rejects",
        "widen": "widen.widen_command",
    },
    "Look": {
        "report": "reports.report_command",
        "export": "reports.export_command",
        "bi": "reports.bi_group",
        "status": "status.status_command",
        "check": "status.check_command",
        "dictionary": "views.dictionary_command",
        "sources": "keys.sources",
    },
    "Serve": {"serve": "serve.serve_command", "keys": "keys.keys"},
    "Forward": {"integrations": "integrations.integrations", "forward": "forward.forward_command"},
    "Protect": {"privacy": "privacy.privacy"},
    "Maintain": {
        "migrate": "init.migrate_command",
        "refresh": "views.refresh_command",
        "settings": "views.settings_group",
        "grant": "views.grant_command",
        "db": "database.db",
        "sample": "database.sample_command",
        "completion": "main.completion_command",
    },
}
PLACES = {name: place for listed in GROUPS.values() for name, place in listed.items()}
EPILOG = """\b
Examples:
  selligent-loader init
  selligent-loader load events/ archive/*.gz
  selligent-loader status

Without SELLIGENT_DATABASE_URL (or DATABASE_URL) an embedded PostgreSQL is used.
"""


class GroupedCommands(click.Group):
    """A group whose help lists its commands under headings, with untruncated summaries."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(PLACES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none with the name."""
        if cmd_name not in PLACES:
            return None
        module, name = PLACES[cmd_name].split(".")
        found: click.Command = getattr(import_module(f"loader.cli.{module}"), name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with; the error for one that does not exist has similar names."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand:
            raise click.exceptions.NoSuchCommand(args[0], possibilities=PLACES, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section per heading."""
        for heading, listed in GROUPS.items():
            commands = [(name, self.get_command(ctx, name)) for name in listed]
            with formatter.section(heading):
                formatter.write_dl([(name, found.get_short_help_str(1000)) for name, found in commands if found])


@click.group(cls=GroupedCommands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="selligent-loader")
def commands() -> None:
    """Load Selligent's e-mail events into PostgreSQL, in the tables that Segment's warehouses would have."""


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
