"""Server faults: crashes, a full disk, and PgBouncer in front of the server."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from loader.cli.main import run
from loader.config import Settings
from loader.migrate import migrate
from loader.pipeline.options import Options
from loader.postgres import embedded
from loader.postgres.embedded_programs import change_owner, find_programs
from loader.sample import ndjson as sample
from tests.support.crash_points import at
from tests.support.loading import load
from tests.support.waiting import until
from tests.system.test_crash import differences, stored


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("loader.pipeline.worker.CHUNK_SIZE", 300_000)
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(sample.lines(6_000, seed=3)) + b"{\n")
    return path


def crash(home: Path) -> None:
    """Crash a server without a checkpoint, and start it again."""
    programs = find_programs(home)
    done, said = programs.run("pg_ctl", "stop", "-m", "immediate", "-w", PGDATA=str(home / "data"))
    assert done, said
    embedded.start(home)


@pytest.mark.slow
@pytest.mark.parametrize("retry_for", [60.0, 0.0], ids=["retried", "given up"])
def test_a_server_that_crashes_in_mid_load(home: Path, events: Path, retry_for: float) -> None:
    url = embedded.start(home).url
    clean, crashed = (Settings(url, f"{kind}_{retry_for:.0f}") for kind in ("clean", "crashed"))
    for settings in (clean, crashed):
        migrate(settings)
    load(clean, [str(events)], Options(max_rejects=1))
    command = ["load", str(events), "--max-rejects", "1", "--database-url", url, "--schema", crashed.schema]
    for step in ("chunk.copied", "chunk.advanced", "chunk.committed"):
        with at(step, lambda: crash(home)):
            result = run([*command, "--again", "--retry-for", f"{retry_for:.0f}s"])
        assert result == (0 if retry_for else 1), step
    assert run(command) == 0
    found, expected = stored(crashed), stored(clean)
    for kept in (found, expected):
        del kept["counts"]  # a file that is read in several attempts has several rows
        kept["rejects"] = sorted(set(kept["rejects"]))
    assert differences(found, expected) == {}


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root can mount a disk that is full")
def test_a_full_disk_is_told_and_the_next_load_goes_on(
    home: Path, events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = embedded.start(home)
    disk = Path(tempfile.mkdtemp(prefix="disk-", dir=home))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode()}")
    try:
        place = disk / "tablespace"
        place.mkdir()
        if account := find_programs(home).account:
            change_owner(place, account)
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"create tablespace small location '{place}'".encode())
            connection.execute("create database small tablespace small")
        settings = Settings(make_conninfo(server.url, dbname="small"), "selligent")
        migrate(settings)
        events.write_bytes(b"".join(sample.lines(30_000, seed=3)))
        command = ["load", str(events), "--database-url", str(settings.database_url)]
        assert run(command) == 1
        advice = "free space on the server's disk; the next load continues where this one ended"
        assert advice in capsys.readouterr().err
        subprocess.run(["mount", "-o", "remount,size=1g", disk], check=True)
        assert run(command) == 0
        clean = Settings(server.url, "whole")
        migrate(clean)
        load(clean, [str(events)], Options())
        assert differences(stored(settings), stored(clean)) == {}
    finally:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("drop database if exists small with (force)")
            connection.execute("drop tablespace if exists small")
        subprocess.run(["umount", "-l", disk], check=True)


#: A running PgBouncer, its configuration file, and the URL through it.
Pooler = tuple["subprocess.Popen[bytes]", Path, str]


@pytest.fixture
def pooler(settings: Settings, tmp_path: Path) -> Iterator[Pooler]:
    """PgBouncer in front of the database."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed; Debian's package has it")
    with tempfile.TemporaryDirectory() as folder:
        parameters = conninfo_to_dict(settings.database_url or "")
        names = {"host", "port", "user", "password"} & parameters.keys()
        target = " ".join(f"{name}='{parameters[name]}'" for name in names)
        port = embedded._choose_port(Path(folder))
        configuration = Path(folder) / "pgbouncer.ini"
        configuration.write_text(
            f"""
            [databases]
            * = {target}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {port}
            unix_socket_dir =
            auth_type = any
            pool_mode = transaction
            """
        )
        Path(folder).chmod(0o755)
        as_whom = ["-u", "nobody"] if os.geteuid() == 0 else []
        process = subprocess.Popen([program, "-q", *as_whom, str(configuration)])
        try:
            until(lambda: not embedded._is_free(port), 10)
            url = make_conninfo("", host="127.0.0.1", port=port, user="any", dbname=parameters["dbname"])
            yield process, configuration, url
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def test_behind_pgbouncer_the_pool_mode_decides(
    settings: Settings,
    events: Path,
    pooler: Pooler,
    capsys: pytest.CaptureFixture[str],
) -> None:
    process, configuration, url = pooler
    pooled = replace(settings, database_url=url)
    with psycopg.connect(url) as connection:  # checks that the connection goes through PgBouncer
        assert connection.info.backend_pid != connection.execute("select pg_backend_pid()").fetchone()[0]  # type: ignore[index]
    assert run(["load", str(events), "--database-url", url]) == 2
    assert "a pool with pool_mode session" in capsys.readouterr().err
    migrate(pooled)
    text = configuration.read_text()
    configuration.write_text(text.replace("pool_mode = transaction", "pool_mode = session"))
    process.send_signal(signal.SIGHUP)  # reloads the configuration
    assert run(["load", str(events), "--max-rejects", "1", "--database-url", url]) == 0
    assert run(["status", "--database-url", url]) == 0
