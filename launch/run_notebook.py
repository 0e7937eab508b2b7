"""Runs a notebook from top to bottom in this Python, and writes its pictures as one.

    python launch/run_notebook.py
    python launch/run_notebook.py --output=results/notebook/lpd_demo.png
    python launch/run_notebook.py --model=models/lpd_l --executed=lpd_demo.ipynb

A cell that fails is named, with its error, and nothing is written. The notebook itself stays as it
is: outputs are for --executed. Files that the cells write go to a temporary folder. It needs the
`[test]` extra.
"""

import base64
import io
import logging
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from PIL import Image

from lpd_jax import images
from lpd_jax.runtime import command_line
from lpd_jax.runtime.arguments import as_path
from lpd_jax.runtime.atomic_files import check_output_file, replacing_file
from lpd_jax.runtime.command_line import one_line
from lpd_jax.runtime.errors import UserError, shown, shown_path

ROOT = Path(__file__).parents[1]
SWITCH = re.compile(r'^MODEL = "[^"\n]*"', re.MULTILINE)
PADDING = 12  # pixels around the pictures of --output

NOTEBOOK = flags.DEFINE_string(
    "notebook", str(ROOT / "notebooks" / "lpd_demo.ipynb"), "The notebook to run."
)
MODEL = flags.DEFINE_string("model", None, "What MODEL is set to. Default: what it says.")
TIMEOUT = flags.DEFINE_integer("timeout", 600, "Seconds that one cell may take.", lower_bound=1)
OUTPUT = flags.DEFINE_string("output", None, "A .png to write: all still pictures of the notebook.")
EXECUTED = flags.DEFINE_string("executed", None, "A .ipynb to write: the notebook with outputs.")


def main() -> None:
    outputs = {
        flag.name: check_output_file(flag.name, flag.value, (suffix,))
        for flag, suffix in ((OUTPUT, ".png"), (EXECUTED, ".ipynb"))
        if flag.value is not None
    }
    notebook = read_notebook(as_path("notebook", NOTEBOOK.value))
    if MODEL.value is not None:
        set_model(notebook, MODEL.value)
    start = time.perf_counter()
    execute(notebook)
    print(f"{NOTEBOOK.value}: ran in {time.perf_counter() - start:.1f} s")
    if "output" in outputs:
        images.save_png(outputs["output"], page(still_pictures(notebook)))
    if "executed" in outputs:
        import nbformat

        with replacing_file(outputs["executed"]) as temporary:
            nbformat.write(notebook, temporary)
    for path in outputs.values():
        print(f"wrote {path}")


def read_notebook(path: Path) -> Any:
    with command_line.imports_of("test"):
        import nbformat

    if not path.is_file():
        raise UserError(
            f"notebook: got {shown_path(path)}, which does not exist; allowed is an .ipynb file"
        )
    try:
        return nbformat.read(path, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, UnicodeDecodeError) as error:
        raise UserError(
            f"notebook: got {shown_path(path)}, which is no notebook: {one_line(error)[:200]}"
        ) from None


def set_model(notebook: Any, model: str) -> None:
    """Turns the switch; a folder is made absolute, since the cells run elsewhere."""
    model = os.path.abspath(model) if os.path.isdir(model) else model
    switches = [cell for cell in notebook.cells if SWITCH.search(cell.source)]
    if len(switches) != 1:
        raise UserError(f"model: got {shown(model)}, but {len(switches)} cells say MODEL = ...")
    switches[0].source = SWITCH.sub(lambda _: f"MODEL = {model!r}", switches[0].source)


def execute(notebook: Any) -> None:
    """Fills in the outputs; UserError with the failing cell.

    The kernel is this very Python, whatever kernels are installed.
    """
    with command_line.imports_of("test"):
        from jupyter_client.kernelspec import KernelSpecManager
        from jupyter_client.manager import AsyncKernelManager
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    specs = KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True)
    kernel = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(
            notebook,
            kernel,
            timeout=TIMEOUT.value,
            resources=resources,
            extra_arguments=["--Application.log_level=ERROR"],
        )
        client.log.setLevel(logging.ERROR)
        try:
            client.execute()
        except CellExecutionError as error:
            cell = failed_cell(notebook)
            raise UserError(f"notebook: {cell} failed: {error.ename}: {error.evalue}") from None
        except (CellTimeoutError, DeadKernelError) as error:
            raise UserError(f"notebook: {one_line(error)[:300]}") from None


def failed_cell(notebook: Any) -> str:
    """Which one ended in an error: its number, all kinds counted from the top, and how it begins.

    Those after it may hold errors of an earlier run.
    """
    for number, cell in enumerate(notebook.cells, 1):
        if any(output["output_type"] == "error" for output in cell.get("outputs", ())):
            return f"cell {number}, {shown(cell.source.strip().partition(chr(10))[0])},"
    return "a cell"


def still_pictures(notebook: Any) -> list[Image.Image]:
    """The PNG outputs, in their order."""
    return [
        Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))).convert("RGB")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]


def page(pictures: list[Image.Image]) -> np.ndarray:
    """All pictures on grey in two columns, as wide as the narrowest of them: uint8 HWC."""
    if not pictures:
        raise UserError("output: the notebook shows no pictures")
    width = min(picture.width for picture in pictures)
    pictures = [p.resize((width, round(p.height * width / p.width))) for p in pictures]
    ends = np.cumsum([picture.height + PADDING for picture in pictures])
    left = int(np.argmin(abs(2 * ends - ends[-1]))) + 1  # of the pictures: about half the height
    height = int(max(ends[left - 1], ends[-1] - ends[left - 1])) + PADDING
    sheet = Image.new("RGB", (2 * width + 3 * PADDING, height), (images.BACKGROUND,) * 3)
    for column, part in enumerate((pictures[:left], pictures[left:])):
        top = PADDING
        for picture in part:
            sheet.paste(picture, (PADDING + column * (width + PADDING), top))
            top += picture.height + PADDING
    return np.asarray(sheet)


if __name__ == "__main__":
    command_line.run(main)
