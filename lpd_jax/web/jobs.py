"""What is asked for, in a row: one at a time on one thread, of a bounded number that waits."""

import collections
import concurrent.futures
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lpd_jax.runtime.errors import UserError

MOST_KEPT = 256  # jobs that ended, of which somebody may still fetch the pictures
MOST_KEPT_BYTES = 2**28
KEPT_SECONDS = 900.0

LOG = logging.getLogger(__name__)


class QueueFull(Exception):  # noqa: N818 - a state of the queue
    """As many wait as may."""


class Stopped(Exception):  # noqa: N818 - tells the work that nobody waits for it
    """The job was cancelled, or took too long."""


class Result(NamedTuple):
    """What came of a job."""

    facts: Mapping[str, Any]  # ready for JSON
    files: Mapping[str, tuple[str, bytes]]  # media type and content by name

    @property
    def num_bytes(self) -> int:
        return sum(len(content) for _, content in self.files.values())


Work = Callable[[Callable[[str], None]], Result]  # is given `Job.reach`


class Job:
    """One thing that was asked for.

    state: waiting, running, done, failed or cancelled.
    phase: what it does while it runs, such as "compiling".
    ended: completes when it ends, in whichever way.
    status: how HTTP calls the end of it.
    """

    def __init__(self, kind: str, work: Work):
        self.id, self.kind = secrets.token_urlsafe(16), kind
        self._work: Work | None = work  # holds what was uploaded: gone with the start or the end
        self.state, self.phase, self.error, self.status = "waiting", "waiting", "", 202
        self.result: Result | None = None
        self.ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.asked_at, self.started_at, self.ended_at = time.monotonic(), 0.0, 0.0
        self._lock = threading.Lock()

    def start(self) -> Work | None:
        """What to do, once it runs; None where it is not wanted any more."""
        with self._lock:
            work, self._work = self._work, None
            if work is not None:
                self.state, self.started_at = "running", time.monotonic()
            return work

    def reach(self, phase: str) -> None:
        """Called by the work where it may end early; raises Stopped where nobody waits for it."""
        if self.state != "running":
            raise Stopped
        self.phase = phase

    def end(self, state: str, status: int, error: str = "", result: Result | None = None) -> bool:
        """Whether this ended it; what ended first stays."""
        with self._lock:
            if self.state not in ("waiting", "running"):
                return False
            self.state, self.phase, self.status, self.error = state, state, status, error
            self.result, self.ended_at, self._work = result, time.monotonic(), None
            return True


class Jobs:
    """The queue, the thread that works on it, and what came of it for a while.

    A compiled program cannot be stopped: a job that is cancelled or late ends for who asked, and
    the thread takes the next one after the program that runs.
    """

    def __init__(self, most_waiting: int, time_limit: float):
        """Args:
        most_waiting: jobs beside the one that runs.
        time_limit: seconds that one may run.
        """
        self.most_waiting, self.time_limit = most_waiting, time_limit
        self.outcomes: collections.Counter[tuple[str, str]] = collections.Counter()
        self.seconds = 0.0  # that jobs ran
        self.is_warm = False
        self._condition = threading.Condition()
        self._waiting: collections.deque[Job] = collections.deque()
        self._running: Job | None = None
        self._kept: collections.OrderedDict[str, Job] = collections.OrderedDict()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="lpd-page worker")

    def start(self, first: Callable[[], None]) -> None:
        """Lets the thread begin: with `first`, then with what is asked for."""
        self._first = first
        self._thread.start()

    def close(self) -> None:
        """Cancels everything; the thread ends after the program that runs."""
        with self._condition:
            self._closed = True
            everything = [*self._waiting, *([self._running] if self._running else [])]
            self._condition.notify_all()
        for job in everything:
            self.cancel(job)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @property
    def is_busy(self) -> bool:
        return self._running is not None

    def submit(self, kind: str, work: Work) -> Job:
        """Puts a job at the end of the queue; QueueFull where it has no place."""
        job = Job(kind, work)
        with self._condition:
            if self._closed or len(self._waiting) >= self.most_waiting:
                raise QueueFull
            self._forget_old()
            self._waiting.append(job)
            self._kept[job.id] = job
            self._condition.notify()
        return job

    def find(self, job_id: str) -> Job | None:
        with self._condition:
            self._forget_old()
            return self._kept.get(job_id)

    def position(self, job: Job) -> int:
        """Jobs before it: 0 of the one that runs, or has ended."""
        with self._condition:
            if job not in self._waiting:
                return 0
            return self._waiting.index(job) + (self._running is not None)

    def cancel(self, job: Job) -> None:
        """Ends a job that nobody wants any more."""
        with self._condition:
            if job in self._waiting:
                self._waiting.remove(job)
        self._end(job, "cancelled", 410, "job: got one that was cancelled, allowed is to ask again")

    def _end(self, job: Job, state: str, status: int, error: str = "", result: Any = None) -> None:
        if job.end(state, status, error, result):
            with self._condition:
                self.outcomes[job.kind, state] += 1
                if job.id in self._kept:
                    self._kept.move_to_end(job.id)
            job.ended.set_result(None)

    def _run(self) -> None:
        try:
            self._first()
        except Exception:  # what is wrong will be told to who asks
            LOG.exception("warming up failed")
        self.is_warm = True
        while (job := self._next()) is not None:
            if (work := job.start()) is not None:
                self._run_one(job, work)
            self._running = work = None

    def _next(self) -> Job | None:
        with self._condition:
            self._condition.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            self._running = self._waiting.popleft()
            return self._running

    def _run_one(self, job: Job, work: Work) -> None:
        late = f"time: got more than {self.time_limit:g} s, allowed is less; ask for less at once"
        timer = threading.Timer(self.time_limit, self._end, (job, "failed", 504, late))
        timer.daemon = True
        timer.start()
        try:
            self._end(job, "done", 200, result=work(job.reach))
        except Stopped:
            pass
        except UserError as error:
            self._end(job, "failed", 400, str(error))
        except Exception:
            LOG.exception("a job failed")
            self._end(job, "failed", 500, "server: got an error of its own; its log has it")
        finally:
            timer.cancel()
            self.seconds += time.monotonic() - job.started_at

    def _forget_old(self) -> None:
        """Drops jobs that ended, the oldest first, until all bounds hold."""
        ended = [job for job in self._kept.values() if job.state not in ("waiting", "running")]
        num_bytes = sum(job.result.num_bytes for job in ended if job.result)
        now, count = time.monotonic(), len(ended)
        for job in ended:
            too_many = count > MOST_KEPT or num_bytes > MOST_KEPT_BYTES
            if not too_many and now - job.ended_at < KEPT_SECONDS:
                break
            del self._kept[job.id]
            count -= 1
            num_bytes -= job.result.num_bytes if job.result else 0
