"""The notebook where it is opened: a fresh environment like Colab's, NumPy loaded already.

Colab's image has its own NumPy, imported before the first cell, and a JAX that is too old for this
package. The install cell may replace the second and must leave the first alone. Needs the package
index, and takes minutes.
"""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests import tiny

COLAB = ["numpy==2.1.3", "jax==0.7.2", "flax==0.11.2"]
JUPYTER = ["ipykernel>=6.29", "nbclient>=0.10", "nbformat>=5.10"]
LAST = "show(pipe("  # the first cell that draws; the others are run by tests/test_notebook.py
# Runs the cells up to it in this Python; says which packages the kernel then has.
DRIVER = """
import json, os, sys
import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

path, last = sys.argv[1:]
notebook = nbformat.read(path, as_version=4)
end = next(i for i, cell in enumerate(notebook.cells) if last in cell.source)
first = nbformat.v4.new_code_cell("import numpy; print(numpy.__version__)")
versions = "import numpy, jax, flax; print(numpy.__version__, jax.__version__, flax.__version__)"
notebook.cells = [first, *notebook.cells[: end + 1], nbformat.v4.new_code_cell(versions)]
specs = KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True)
kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)
resources = {"metadata": {"path": os.path.dirname(path)}}  # where the package is not importable
NotebookClient(notebook, kernel, timeout=1500, resources=resources).execute()
texts = [
    "".join(out.get("text", "") for out in cell.get("outputs", [])) for cell in notebook.cells
]
pictures = ["image/png" in out.get("data", {}) for out in notebook.cells[-2].outputs]
print(json.dumps([texts[0], texts[-1], any(pictures)]))
"""


def starts(name: str) -> bool:
    """Whether there is such a Python: pyenv has a name for each that some folder may choose."""
    path = shutil.which(name)
    return path is not None and subprocess.run([path, "-V"], capture_output=True).returncode == 0


PYTHONS = [sys.executable, *filter(starts, ("python3.13", "python3.14"))]


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: pathlib.Path(path).name)
def test_the_notebook_leaves_the_kernels_numpy_alone(python, tmp_path):
    repository = tmp_path / "lpd_jax_repository"
    ignored = shutil.ignore_patterns(".git", ".venv*", "runs", "results", "__pycache__", ".*_cache")
    shutil.copytree(tiny.REPOSITORY, repository, ignore=ignored)
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    inside = tmp_path / "venv" / "bin" / "python"
    install = [inside, "-m", "pip", "install", "-q", *COLAB, *JUPYTER]
    subprocess.run(install, check=True, capture_output=True)
    # The cell that installs finds the package in the folder that it runs in.
    notebook = repository / "notebooks" / "lpd_demo.ipynb"
    done = subprocess.run(
        [inside, "-c", DRIVER, notebook, LAST],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=2400,
    )
    assert done.returncode == 0, done.stderr
    before, after, draws = json.loads(done.stdout.splitlines()[-1])
    numpy, jax, flax = after.split()
    assert before.strip() == numpy == "2.1.3" and draws
    assert int(jax.split(".")[1]) >= 10 and int(flax.split(".")[1]) >= 12
