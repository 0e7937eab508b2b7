"""One row of a table: a case, compiled, timed, and held against its lower bounds."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import jax

from lpd_jax.performance.benchmark_case import DRAWING, BenchmarkCase, Inputs, make_inputs
from lpd_jax.performance.benchmark_model import (
    BenchmarkModel,
    device_memory,
    weights_of_drawing,
)
from lpd_jax.performance.device_peaks import DevicePeaks
from lpd_jax.performance.flops_and_bytes import Work, count_work
from lpd_jax.performance.program_needs import program_bytes
from lpd_jax.performance.timing import Quartiles, compile_twice, time_in_turns
from lpd_jax.performance.workload import make_workload, runner


class Peer(Protocol):
    """Another implementation of the same model."""

    name: str

    def runner(
        self, case: BenchmarkCase, model: BenchmarkModel, inputs: Inputs
    ) -> Callable[[], object] | None:
        """Does a case's task once and waits for the device; None for a model it has not.

        It raises MemoryError where the task does not fit.
        """


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What became of a case; without a time, its program did not fit into memory."""

    case: BenchmarkCase
    num_tokens: int
    num_steps: int | None
    work: Work
    lower_bounds: tuple[float, float]  # seconds to read the weights, and to compute
    compile_seconds: float | None = None
    compile_again_seconds: float | None = None  # from the persistent compilation cache
    memory_bytes: int | None = None  # arguments, outputs and temporaries at their peak
    device_peak_bytes: int | None = None  # of the process so far, where the device counts
    seconds: Quartiles | None = None
    peer_seconds: Quartiles | None = None

    @property
    def images_per_second(self) -> float | None:
        return self.seconds and self.case.batch_size / self.seconds.median

    @property
    def times_lower_bound(self) -> float | None:
        """Time over the larger of the lower bounds."""
        return self.seconds and self.seconds.median / max(self.lower_bounds)

    @property
    def times_peer(self) -> float | None:
        """Time over the peer's."""
        if self.seconds is None or self.peer_seconds is None:
            return None
        return self.seconds.median / self.peer_seconds.median


def measure(
    case: BenchmarkCase, model: BenchmarkModel, peaks: DevicePeaks, peer: Peer | None
) -> Measurement:
    """Compiles a case and times it, in turns with the peer where that has the model.

    Raises:
        UserError: a choice that the model does not know.
    """
    inputs = make_inputs(case, model)
    schedule = inputs.request.schedule
    work = count_work(case, model, schedule)
    known = Measurement(
        case,
        model.transformer.num_tokens,
        schedule.num_steps if case.task in DRAWING else None,
        work,
        work.lower_bounds(peaks, case.dtype),
    )
    if case.task in DRAWING and weights_of_drawing(model, case.dtype) > device_memory():
        return known  # on a CPU it would be the machine's end, or that of another process
    try:
        return dataclasses.replace(known, **compile_and_time(case, model, inputs, peer))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return known


def compile_and_time(
    case: BenchmarkCase, model: BenchmarkModel, inputs: Inputs, peer: Peer | None
) -> dict[str, Any]:
    """What there is to measure, by the names of `Measurement`."""
    # First, since a training step takes the weights for its own.
    other = find_runner(peer, case, model, inputs) if peer else None
    workload = make_workload(case, model, inputs)
    executable, first, again = compile_twice(workload.function, workload.arguments)
    runners: dict[str, Callable[[], object]] = {"ours": runner(executable, workload)}
    if other is not None:
        runners["peer"] = other
    timed = time_in_turns(runners, case.num_repeats)
    return {
        "compile_seconds": first,
        "compile_again_seconds": again,
        "memory_bytes": program_bytes(executable),
        "device_peak_bytes": (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use"),
        "seconds": timed["ours"],
        "peer_seconds": timed.get("peer"),
    }


def find_runner(
    peer: Peer, case: BenchmarkCase, model: BenchmarkModel, inputs: Inputs
) -> Callable[[], object] | None:
    """The peer's, if it has the model and this fits; run once to see that."""
    try:
        other = peer.runner(case, model, inputs)
        if other is not None:
            other()
    except MemoryError:
        return None
    return other
