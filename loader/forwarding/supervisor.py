"""Run one forwarder for each enabled integration of a source, and follow changes of their configuration."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from loader.config import Settings
from loader.errors import BusyError, LoaderError, OutageError, UsageError
from loader.forwarding.clock import Clock
from loader.forwarding.configuration import Configuration, list_integrations
from loader.forwarding.cursor import FOLDER, remove_others, spool_id
from loader.forwarding.forwarder import Forwarder, Notify
from loader.schema.source import open_warehouse
from loader.spool.segments import folder_name, is_same_file, lock_folder, make_places, site_log

log = logging.getLogger(__name__)

#: Seconds between looks for changes of the configuration, and for the lock of another forwarder.
REFRESH_SECONDS, LOCK_SECONDS = 5.0, 1.0
#: Seconds after which a forwarder that has failed is started again.
RESTART_SECONDS = 30.0
#: Seconds to wait for requests that are being sent when the forwarder is stopped.
STOP_SECONDS = 10.0


def forward(settings: Settings, spool: Path, clock: Clock, notify: Notify, *, once: bool = False) -> bool:
    """Forward the events of a source in a spool to its integrations until the clock is stopped.

    With `once`, until the end of the log. Returns whether everything was forwarded. Waits while another forwarder reads
    the same spool, and while the database is away at the start. Raises UsageError for a spool that does not exist,
    SchemaError if the source is not prepared; with `once`, OutageError if the database is away.
    """
    place, site = (spool / folder_name(name) for name in (settings.schema, site_log(settings.schema)))
    if not place.is_dir():
        raise UsageError(f"{str(place)!r} does not exist; name the spool of `selligent-loader serve` with --spool")
    make_places(spool, [site])
    while not clock.is_stopped:
        with _locked(place, clock) as has_lock:
            if not has_lock:
                return False
            supervisor = _Supervisor(settings, (place, site), clock, notify, once=once)
            is_done = supervisor.run(has_lock)
        if once:
            return is_done
    return True


@contextmanager
def _locked(place: Path, clock: Clock) -> Iterator[Callable[[], bool] | None]:
    """Lock the forwarding of a source; yield a function that says whether the lock is still valid, None if stopped."""
    spool_id(place)
    folder, is_reported = place / FOLDER, False
    while not clock.is_stopped:
        try:
            lock = lock_folder(folder)
        except BusyError:
            if not is_reported:
                log.warning("another process forwards the events of %s; waiting until it ends", place)
            is_reported = True
            clock.wait(LOCK_SECONDS)
            continue
        with lock:
            yield partial(is_same_file, lock, folder)
        return
    yield None


class _Supervisor:
    """Starts and stops forwarders, one thread each."""

    def __init__(
        self, settings: Settings, places: tuple[Path, Path], clock: Clock, notify: Notify, *, once: bool
    ) -> None:
        """`places` are the folders of the logs with e-mail events and with calls of the company's site."""
        self._settings, self._places, self._clock, self._notify, self._once = settings, places, clock, notify, once
        self._running: dict[str, tuple[Forwarder, Clock, threading.Thread]] = {}

    def run(self, has_lock: Callable[[], bool]) -> bool:
        """Run until the clock is stopped or the lock is lost; with `once` until all forwarders have ended.

        Returns whether all events were forwarded.
        """
        found = self._read_first()
        try:
            while not self._clock.is_stopped and has_lock():
                self._follow(found)
                if self._once:
                    for _, clock, thread in self._running.values():
                        while thread.is_alive() and not clock.is_stopped:
                            thread.join(LOCK_SECONDS)
                    return all(forwarder.is_done for forwarder, _, _ in self._running.values())
                self._clock.wait(REFRESH_SECONDS)
                try:
                    found = self._read()
                except LoaderError as exc:
                    log.warning("%s; the integrations are those read last", exc)
        finally:
            self._stop(list(self._running))
        return True

    def _read_first(self) -> list[Configuration]:
        """Return the integrations to run; unless `once`, wait while the database is away."""
        while not self._clock.is_stopped:
            try:
                return self._read()
            except OutageError as exc:
                if self._once:
                    raise
                log.warning("%s; forwarding begins later", exc)
                self._clock.wait(RESTART_SECONDS)
        return []

    def _read(self) -> list[Configuration]:
        with open_warehouse(self._settings, "forward") as warehouse:
            found = list_integrations(warehouse)
        for place in self._places:
            remove_others(place, {configuration.integration_id for configuration in found})
        return [configuration for configuration in found if configuration.is_enabled]

    def _follow(self, found: list[Configuration]) -> None:
        """Stop the forwarders of integrations that are gone or changed, and start those that are new or have ended."""
        wanted = {configuration.integration_id: configuration for configuration in found}
        self._stop(
            [
                key
                for key, (forwarder, _, thread) in self._running.items()
                if forwarder.configuration != wanted.get(key) or not thread.is_alive()
            ]
        )
        for key, configuration in wanted.items():
            if key not in self._running:
                self._start(key, configuration)

    def _start(self, key: str, configuration: Configuration) -> None:
        clock = self._clock.child()
        place = self._places[configuration.reads_site]
        forwarder = Forwarder(self._settings, place, configuration, clock, self._notify, once=self._once)
        thread = threading.Thread(target=_run, args=(forwarder, clock), name=configuration.name, daemon=True)
        self._running[key] = forwarder, clock, thread
        thread.start()

    def _stop(self, keys: list[str]) -> None:
        for key in keys:
            self._running[key][1].stop()
        for key in keys:
            _, _, thread = self._running.pop(key)
            thread.join(STOP_SECONDS)


def _run(forwarder: Forwarder, clock: Clock) -> None:
    """Run a forwarder; log what ends it, and wait, since the supervisor starts it again."""
    try:
        forwarder.run()
        return
    except (LoaderError, OSError) as exc:
        log.error("%s: %s", forwarder.configuration.name, exc)
    except Exception:
        log.exception("unexpected error while forwarding to %s", forwarder.configuration.name)
    clock.wait(RESTART_SECONDS)
