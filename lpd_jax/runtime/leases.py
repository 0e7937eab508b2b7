"""One writer at a time of a folder in a bucket: a lease file that its holder renews."""

import contextlib
import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from etils import epath

from lpd_jax.runtime.errors import UserError, shown_path

logger = logging.getLogger(__name__)

LEASE_FILE = "writer.lease"
RENEW_SECONDS = 15.0
# A lease that nobody renews for so long is free. Seen here, so that clocks need not agree.
WATCH_SECONDS = 60.0
# And one of this age is not even watched: clocks do not differ by so much.
STALE_SECONDS = 900.0
AGAIN_SECONDS = 0.05  # by then a lease that was read half written is whole


class Lease:
    """Held until `release`; a thread renews it.

    Raises:
        UserError: another process holds the lease and renews it.
    """

    def __init__(self, name: str, folder: epath.Path):
        """Args:
        name: the option that names the folder, for errors.
        folder: of a bucket; made where it is not there.
        """
        self.name, self.folder, self.file = name, folder, folder / LEASE_FILE
        self.holder = f"process {os.getpid()} of {platform.node()}"
        self.key, self.taken_by = uuid.uuid4().hex, ""
        wait_until_free(name, folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.write()
        # Of two that found it free at once, the later one holds it.
        if (found := read_lease(self.file)).get("key") != self.key:
            raise refused(name, folder, found)
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self.keep, daemon=True, name="lease")
        self.thread.start()

    def write(self) -> None:
        lease = {"holder": self.holder, "key": self.key, "renewed": time.time()}
        self.file.write_text(json.dumps(lease))

    def keep(self) -> None:
        while not self.ends.wait(RENEW_SECONDS):
            # A bucket that cannot be reached for a while is no reason to end a run.
            with contextlib.suppress(Exception):
                found = read_lease(self.file)
                if found and found.get("key") != self.key:
                    self.taken_by = str(found.get("holder"))
                    return
                self.write()

    def check(self) -> None:
        """Raises UserError where another process has taken the folder over."""
        if self.taken_by:
            raise UserError(
                f"{self.name}: got {shown_path(self.folder)}, which {self.taken_by} has taken "
                "over, since this process could not renew its lease"
            )

    def release(self) -> None:
        self.ends.set()
        self.thread.join()
        with contextlib.suppress(Exception):
            if read_lease(self.file).get("key") == self.key:
                self.file.unlink()


@contextlib.contextmanager
def leasing(name: str, folder: epath.Path) -> Iterator[Lease]:
    """Makes a folder of a bucket this process's own to write to; see `Lease`."""
    lease = Lease(name, folder)
    try:
        yield lease
    finally:
        lease.release()


def wait_until_free(name: str, folder: epath.Path) -> None:
    """Watches a lease that a process has left or still holds; UserError where it is renewed."""
    found = read_lease(folder / LEASE_FILE)
    if not found or time.time() - found.get("renewed", 0.0) > STALE_SECONDS:
        return
    logger.warning(
        "%s: %s has written to %s; watching for %g s whether it still does",
        *(name, found.get("holder"), folder, WATCH_SECONDS),
    )
    end = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < end:
        time.sleep(min(RENEW_SECONDS, WATCH_SECONDS) / 5)
        now = read_lease(folder / LEASE_FILE)
        if not now:
            return
        if now != found:
            raise refused(name, folder, now)


def refused(name: str, folder: epath.Path, lease: dict[str, Any]) -> UserError:
    return UserError(
        f"{name}: got {shown_path(folder)}, which {lease.get('holder')} writes to; allowed is one "
        "writer at a time: wait for it, or end it"
    )


def read_lease(file: epath.Path) -> dict[str, Any]:
    """What the lease says; nothing where there is none, and of a damaged one a name alone."""
    for wait in (AGAIN_SECONDS, 0.0):
        try:
            lease = json.loads(file.read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            lease = None
        if isinstance(lease, dict):
            return lease
        time.sleep(wait)
    return {"holder": "another process"}
