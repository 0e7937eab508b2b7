"""Many processes as one program: joined before anything touches a device."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from absl import flags

from lpd_jax.runtime.errors import UserError, one_line, shown

flags.disclaim_key_flags()  # they are flags of the command that asks for them: --help shows them

# Which launcher started this process, by the variable that only it sets for each process.
LAUNCHERS = {
    "SLURM_PROCID": "Slurm",
    "OMPI_COMM_WORLD_RANK": "Open MPI",
    "TPU_WORKER_ID": "Cloud TPU",
    "MEGASCALE_COORDINATOR_ADDRESS": "Cloud TPU multislice",
    "JOB_COMPLETION_INDEX": "a Kubernetes job",
}
POD = "KUBERNETES_SERVICE_HOST"  # set in all of them, such as those of a notebook


def define_host_flags() -> None:
    """Flags by which a process is told of the others where no launcher does."""
    flags.DEFINE_string("coordinator_address", "", "host:port of process 0.")
    flags.DEFINE_integer("num_processes", 0, "Processes of the job.", lower_bound=0)
    flags.DEFINE_integer("process_id", -1, "Number of this process, from 0.", lower_bound=-1)


@contextlib.contextmanager
def job() -> Iterator[None]:
    """As part of the job that the flags, or the launcher, tell of; call it first, and once."""
    given = flags.FLAGS
    initialize(given.coordinator_address, given.num_processes, given.process_id)
    try:
        yield
    except Exception as error:
        if jax.distributed.is_initialized():
            # Now: the shutdown waits for the other processes, which may wait for this one.
            print(f"process {jax.process_index()}: {one_line(error)}", file=sys.stderr, flush=True)
        raise
    finally:
        if jax.distributed.is_initialized():
            jax.distributed.shutdown()


def initialize(
    coordinator_address: str = "",
    num_processes: int = 0,
    process_id: int = -1,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Joins the other processes of a job, if there are any; call it first, and once.

    Slurm, Open MPI, GKE and Cloud TPU are recognised by JAX itself. Elsewhere say all three:

    Args:
        coordinator_address: "host:port" of process 0, reachable from all.
        num_processes: of the whole job.
        process_id: of this one, 0 to num_processes - 1.
        environment: variables to find a launcher by; None is those of this process.

    Raises:
        UserError: only some of the three, an address without a port, or a launcher's job that
            cannot be joined.
    """
    variables = os.environ if environment is None else environment
    if coordinator_address or num_processes > 0 or process_id >= 0:
        check_address(coordinator_address, num_processes, process_id)
        choices: dict[str, Any] = {}
        if POD in variables:  # JAX would ask Kubernetes all the same, which need not answer
            choices = {"cluster_detection_method": "deactivate"}
        jax.distributed.initialize(coordinator_address, num_processes, process_id, **choices)
        return
    launchers = [name for variable, name in LAUNCHERS.items() if variable in variables]
    try:
        jax.distributed.initialize()
    # ValueError: JAX knows no launcher, or not all three. RuntimeError: a launcher's answer is of
    # no use, or the coordinator cannot be reached. Of a pod, whatever the package of Kubernetes
    # raises where the pod is of no job or may not ask.
    except Exception as error:
        if not (POD in variables or isinstance(error, ValueError | RuntimeError)):
            raise
        # Alone is how most runs are; but one process of a job must never train for itself.
        if expects_others(variables):
            raise UserError(
                f"distributed: got a process of {' and '.join(launchers) or 'a launcher'} that "
                f"cannot join the others ({error}), allowed are --coordinator_address, "
                "--num_processes and --process_id"
            ) from error
        if isinstance(error, RuntimeError) and POD not in variables:
            raise


def check_address(coordinator_address: str, num_processes: int, process_id: int) -> None:
    """Raises UserError unless all three are given, and fit."""
    if not coordinator_address or not 0 <= process_id < num_processes:
        raise UserError(
            "coordinator_address, num_processes, process_id: got "
            f"{shown(coordinator_address)}, {num_processes}, {process_id}, allowed are all "
            "three, with process_id from 0 to num_processes - 1"
        )
    if not coordinator_address.rpartition(":")[2].isdecimal():
        raise UserError(
            f"coordinator_address: got {shown(coordinator_address)}, allowed is host:port"
        )


def expects_others(variables: Mapping[str, str]) -> bool:
    """Whether a launcher's variables speak of more than one process."""
    counts = [variables.get(name, "1") for name in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")]
    hosts = variables.get("TPU_WORKER_HOSTNAMES", "")
    several_slices = "MEGASCALE_COORDINATOR_ADDRESS" in variables
    several = any(count not in ("", "1") for count in counts) or "," in hosts or several_slices
    # Nothing says how many pods a job has: the first may be the only one.
    return several or variables.get("JOB_COMPLETION_INDEX", "0") != "0"
