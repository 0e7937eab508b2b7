"""The names of ImageNet's 1,000 classes, which the released models draw; no pictures."""

import functools
import pathlib

NUM_CLASSES = 1000
FILE = pathlib.Path(__file__).parent / "imagenet_classes.txt"


@functools.cache
def imagenet_class_names() -> tuple[str, ...]:
    """By label, which is the rank of the class's synset; the file says where they come from.

    Raises:
        FileNotFoundError: a file of the package is missing.
    """
    if not FILE.is_file():
        raise FileNotFoundError(f"bundled names: {FILE} is missing; install lpd_jax again")
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return tuple(line.split(" ", 1)[1] for line in lines if not line.startswith("#"))
