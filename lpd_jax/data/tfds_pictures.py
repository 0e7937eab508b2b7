"""Image classification sets that tensorflow-datasets has prepared, read without TensorFlow.

They must lie there as ArrayRecord files: `tfds build imagenet2012 --file_format=array_record`.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from lpd_jax.runtime.arguments import as_path
from lpd_jax.runtime.errors import UserError, shown

PREPARE = "allowed is a set that was prepared with `tfds build NAME --file_format=array_record`"


class TfdsPictures:
    """One split, in the order of its files; nothing is ever downloaded."""

    def __init__(self, name: str, data_dir: str, split: str):
        """Args:
        name: of the set, with its config and version if need be: "imagenet2012:5.1.0".
        data_dir: where it was prepared; "" is the default of TFDS.
        split: "train", or a slice such as "train[:90%]".

        Raises:
            UserError: TFDS is not installed, the set is not prepared, it has no such split, or
                its records are no images with labels.
        """
        if data_dir:  # ArrayRecord reads no other than local files
            as_path("data.path", data_dir)
        tfds = import_tfds()
        with naming("data.name", name, PREPARE):
            builder = tfds.builder(name, data_dir=data_dir or None)
            prepared = builder.is_prepared()
        where = str(builder.data_path)
        if not prepared:
            raise UserError(f"data.name: got {shown(name)}, not prepared in {where}; {PREPARE}")
        self.keys = image_and_label(builder.info, tfds, name)
        splits = ", ".join(builder.info.splits)
        allowed = f"allowed are {splits} and their slices, of ArrayRecord files"
        with naming(f"data.name: {name}, split", split, allowed):
            # Pillow decodes, as it does the files of a folder: the same errors, and any mode.
            decoders = {self.keys[0]: tfds.decode.SkipDecoding()}
            self.records = builder.as_data_source(split, decoders=decoders)
        label = builder.info.features[self.keys[1]]
        self.num_classes = label.num_classes
        numbers = [str(i) for i in range(label.num_classes)]  # what TFDS calls nameless classes
        self.class_names = () if label.names == numbers else tuple(label.names)
        self.description = f"{builder.info.full_name} {split}"

    def __len__(self) -> int:
        return len(self.records)

    def load(self, index: int) -> tuple[bytes, int]:
        try:
            record = self.records[index]
        except RuntimeError as error:  # ArrayRecord's, of a damaged file
            raise OSError(str(error)) from None
        label = int(record[self.keys[1]])
        if not 0 <= label < self.num_classes:  # of a test set whose classes nobody is told
            raise ValueError(f"label {label}, allowed are 0 to {self.num_classes - 1}")
        return record[self.keys[0]], label

    def name(self, index: int) -> str:
        return f"{self.description}[{index}]"


def import_tfds() -> Any:
    """tensorflow-datasets, which no other dataset needs."""
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise UserError(
            f"data.dataset: got 'tfds', but tensorflow-datasets cannot be imported ({error}); "
            "install it, or use a dataset of another kind"
        ) from None
    return tensorflow_datasets


def image_and_label(info: Any, tfds: Any, name: str) -> tuple[str, str]:
    """Names of the two features: what the set calls supervised, else "image" and "label"."""
    keys = info.supervised_keys or ("image", "label")
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    fits = len(keys) == 2 and all(
        key in info.features and isinstance(info.features[key], kind)
        for key, kind in zip(keys, kinds, strict=True)
    )
    if not fits:
        raise UserError(
            f"data.name: got {shown(name)}, whose records hold {', '.join(info.features)}; allowed "
            "are "
            "sets of an image and its class label"
        )
    return keys[0], keys[1]


@contextlib.contextmanager
def naming(field: str, value: str, allowed: str) -> Iterator[None]:
    """What TFDS raises becomes one line that names the field; its long lists are left out."""
    try:
        yield
    except (ValueError, AssertionError, ImportError, NotImplementedError, OSError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".: ")
        raise UserError(f"{field}: got {shown(value)} ({first_line}); {allowed}") from None
