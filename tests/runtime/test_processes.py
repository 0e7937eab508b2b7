"""How a process finds out that it is one of many; real processes are in training/test_cluster."""

import types

import jax
import pytest

from lpd_jax.runtime import processes
from lpd_jax.runtime.errors import UserError


@pytest.fixture
def calls(monkeypatch):
    """What JAX is asked to join; without arguments it finds no cluster."""
    made = []

    def initialize(*arguments, **choices):
        made.append((*arguments, *choices.values()))
        if not arguments:
            raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    return made


def test_flags_say_all_three(calls):
    processes.initialize("host:1234", 4, 3)
    assert calls == [("host:1234", 4, 3)]


@pytest.mark.parametrize("given", [("host:1", 0, -1), ("", 4, -1), ("host:1", 4, 4), ("", 0, 0)])
def test_some_of_them_are_refused(calls, given):
    with pytest.raises(ValueError, match=r"^coordinator_address, num_processes, process_id: got"):
        processes.initialize(*given)
    assert not calls


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"},
        {"TPU_WORKER_HOSTNAMES": "one"},
        {processes.POD: "10.0.0.1", "JOB_COMPLETION_INDEX": "0"},
    ],
)
def test_alone_is_fine(calls, variables):
    processes.initialize(environment=variables)
    assert calls == [()]


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "16"}, "Slurm"),
        ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}, "Open MPI"),
        ({"TPU_WORKER_ID": "0", "TPU_WORKER_HOSTNAMES": "a,b"}, "Cloud TPU"),
        ({processes.POD: "10.0.0.1", "JOB_COMPLETION_INDEX": "1"}, "a Kubernetes job"),
    ],
)
def test_one_of_many_never_trains_for_itself(calls, variables, name):
    with pytest.raises(ValueError, match=f"^distributed: got a process of {name} that cannot join"):
        processes.initialize(environment=variables)


def test_what_a_launcher_says_and_jax_cannot_use_is_named(monkeypatch):
    def initialize():
        raise RuntimeError("Could not parse coordinator IP address from Open MPI environment.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(UserError, match=r"Open MPI that cannot join the others \(Could not parse"):
        processes.initialize(environment={"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"})
    with pytest.raises(RuntimeError, match="^Could not parse"):  # alone, it is a defect
        processes.initialize(environment={})


class ConfigError(Exception):
    """As the package of Kubernetes raises, of a class of its own."""


@pytest.mark.parametrize("error", [ConfigError("no token"), RuntimeError("only supports Job")])
def test_a_pod_that_is_of_no_job_is_alone(monkeypatch, error):
    def initialize(*arguments, cluster_detection_method=None):
        if cluster_detection_method != "deactivate":
            raise error

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    pod = {processes.POD: "10.0.0.1"}
    processes.initialize(environment=pod)
    processes.initialize("host:1234", 1, 0, environment=pod)
    with pytest.raises(UserError, match="a Kubernetes job that cannot join the others .(no|only)"):
        processes.initialize(environment=pod | {"JOB_COMPLETION_INDEX": "1"})
    with pytest.raises(type(error)):  # elsewhere it is a defect
        processes.initialize(environment={})


@pytest.mark.parametrize("address", ["host", "host:", "host:port"])
def test_an_address_without_a_port_is_refused(calls, address):
    with pytest.raises(UserError, match=f"^coordinator_address: got '{address}', allowed is host"):
        processes.initialize(address, 4, 3)
    assert not calls


def test_an_error_of_one_process_is_told_before_it_waits_for_the_others(calls, monkeypatch, capsys):
    told = []
    names = ("coordinator_address", "num_processes", "process_id")
    given = types.SimpleNamespace(**dict(zip(names, ("host:1234", 4, 0), strict=True)))
    monkeypatch.setattr(processes.flags, "FLAGS", given)
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax.distributed, "shutdown", lambda: told.append(capsys.readouterr().err))
    with pytest.raises(UserError, match="^workdir: got"), processes.job():
        raise UserError("workdir: got 'x'")
    assert told == ["process 0: workdir: got 'x'\n"]
