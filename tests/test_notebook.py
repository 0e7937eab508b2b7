"""The notebook runs from top to bottom with the bundled model, and with any other."""

import json
import re

import nbformat
import numpy as np
import pytest
from PIL import Image

from tests import tiny

SCRIPT = tiny.REPOSITORY / "launch" / "run_notebook.py"
NOTEBOOK = tiny.REPOSITORY / "notebooks" / "lpd_demo.ipynb"


def write_notebook(path, *sources: str):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.mark.slow
def test_runs_from_top_to_bottom(tmp_path):
    options = ["--output=demo.png", "--executed=demo.ipynb"]
    result = tiny.run_python(SCRIPT, *options, cwd=tmp_path, timeout=1200)
    assert result.returncode == 0, result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"demo.png", "demo.ipynb"}
    with Image.open(tmp_path / "demo.png") as picture:
        assert min(picture.size) > 500
    cells = nbformat.read(tmp_path / "demo.ipynb", as_version=4).cells
    shown = [out for cell in cells for out in cell.get("outputs", []) if "data" in out]
    assert sum("image/png" in out.data for out in shown) == 9
    assert sum("image/gif" in out.data for out in shown) == 1
    counts = [cell.execution_count for cell in cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.slow
def test_runs_unchanged_with_another_model(tmp_path):
    """Another grid, other sizes and classes, and fewer tokens than the published steps."""
    model = tiny.write_model_directory(tmp_path / "tiny")
    result = tiny.run_python(SCRIPT, f"--model={model}", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"tiny"}


def test_a_failing_cell_fails_and_writes_nothing(tmp_path):
    notebook = write_notebook(tmp_path / "bad.ipynb", "1 + 1", "raise KeyError('of this cell')")
    options = [f"--notebook={notebook}", "--output=bad.png"]
    result = tiny.run_python(SCRIPT, *options, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and "KeyError: 'of this cell'" in result.stderr
    assert """cell 2, "raise KeyError('of this cell')", failed""" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.ipynb"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--notebook=no.ipynb"], ["notebook: got 'no.ipynb'", "does not exist"]),
        (["--notebook=text.ipynb"], ["notebook: got 'text.ipynb', which is no notebook"]),
        (["--notebook=plain.ipynb", "--model=m"], ["model: got 'm', but 0 cells"]),
        (["--notebook=plain.ipynb", "--output=x.png"], ["output: the notebook shows no pictures"]),
        (["--output=x.jpg"], ["output", "'x.jpg'", ".png"]),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path, options, words):
    write_notebook(tmp_path / "plain.ipynb", "1 + 1")
    (tmp_path / "text.ipynb").write_text("this is no notebook")
    result = tiny.run_python(SCRIPT, *options, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1, result.stderr
    assert all(word in result.stderr for word in words), result.stderr


def test_is_kept_with_its_outputs():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    nbformat.validate(nbformat.from_dict(notebook))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [
        kind for cell in cells for output in cell["outputs"] for kind in output.get("data", {})
    ]
    assert kinds.count("image/png") == 9 and kinds.count("image/gif") == 1
    text = json.dumps([cell["outputs"] for cell in cells])
    assert "Error" not in text and "/tmp/" not in text and "/home/" not in text
    assert NOTEBOOK.stat().st_size < 4e6
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert notebook["metadata"]["accelerator"] == "GPU"
    code = "\n" + code_of(notebook)
    assert '\nMODEL = "avatars12"  # @param ["avatars12", "lpd_l_256"' in code
    assert "seed = 8  # @param" in code


def test_one_address_everywhere():
    """In the badges, the install cell, the metadata, the manual and the citation."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    setup = (tiny.REPOSITORY / "setup.py").read_text(encoding="utf-8")
    address = re.search(r'^REPOSITORY = "(https://github.com/(\S+))"$', setup, re.MULTILINE)
    assert f'\nREPOSITORY = "{address[1]}"\n' in "\n" + code_of(notebook)
    badge = f"https://colab.research.google.com/github/{address[2]}/blob/main/notebooks/"
    title = "".join(notebook["cells"][0]["source"])
    readme = (tiny.REPOSITORY / "README.md").read_text(encoding="utf-8")
    for text in (title, readme):
        assert f"]({badge}{NOTEBOOK.name})" in text
        named = re.findall(r"github(?:\.com)?/([\w-]*lpd[\w-]*/lpd_jax)", text)
        assert set(named) == {address[2]}
    for name, field in (("mkdocs.yml", "repo_url"), ("CITATION.cff", "repository-code")):
        assert f"\n{field}: {address[1]}\n" in (tiny.REPOSITORY / name).read_text(encoding="utf-8")


def code_of(notebook) -> str:
    code = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return "\n".join("".join(source) for source in code)


def test_the_page_has_two_columns_of_one_width(tmp_path):
    show = "import numpy, PIL.Image as p\np.fromarray(numpy.full(({}, {}, 3), 9, 'u1'))"
    sources = [show.format(height, width) for height, width in ((40, 60), (20, 120), (30, 60))]
    notebook = write_notebook(tmp_path / "three.ipynb", *sources)
    options = [f"--notebook={notebook}", "--output=page.png"]
    result = tiny.run_python(SCRIPT, *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "page.png") as picture:
        dark_HW = np.asarray(picture)[..., 0] == 9
    assert dark_HW.any(axis=0).sum() == 120  # the second is made as narrow as the others
    assert dark_HW.sum() == 60 * (40 + 10 + 30)
