"""What a measured number was made with: code, packages, device."""

import os
import platform
import subprocess
from pathlib import Path

import jax
import jaxlib

from lpd_jax.version import __version__

CPU_INFO = Path("/proc/cpuinfo")


def git_commit() -> str:
    """The commit of the code that runs; "unknown" outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        run = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run.stdout.strip()


def versions() -> dict[str, str]:
    """Of what numbers depend on most, by name."""
    return {
        "lpd_jax": __version__,
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "python": platform.python_version(),
    }


def version_line() -> str:
    """The same on a line."""
    return ", ".join(f"{name} {text}" for name, text in versions().items())


def device_name() -> str:
    """The device that JAX computes on; of a CPU, the cores that this process may use."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{count} cores of {cpu_name()}"


def load_average() -> float:
    """Processes that ran or waited in the last minute: a busy machine measures others too."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def cpu_name() -> str:
    """As the processor calls itself, where the system tells."""
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
