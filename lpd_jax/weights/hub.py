"""Model directories by name: bundled ones, folders, repositories of the Hugging Face hub."""

import re
from os import PathLike
from pathlib import Path

from lpd_jax import bundled
from lpd_jax.runtime.arguments import nearest
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.weights.model_directory import CONFIG_FILE, WEIGHT_FILES

BUNDLED_MODELS = {"avatars12": bundled.MODEL_FOLDER}
DEFAULT_MODEL = "avatars12"
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")  # "owner/name"


def find_model_directory(name_or_dir: str | PathLike) -> Path:
    """The folder of a bundled model's name, of a path, or of a repository "owner/name" of the hub.

    A folder that exists is taken before a repository of that name.

    Raises:
        FileNotFoundError: none of them; names the bundled models.
        UserError: a repository that cannot be fetched.
    """
    name = str(name_or_dir)
    if name in BUNDLED_MODELS:
        return BUNDLED_MODELS[name]
    path = Path(name_or_dir).expanduser()
    if name and path.is_dir():  # "" would be the current folder
        return path
    if REPOSITORY.fullmatch(name) and not path.parent.is_dir():
        return fetch_repository(name)
    raise FileNotFoundError(
        f"model: got {shown(name)}, which is no directory; allowed are model directories, "
        f"{', '.join(BUNDLED_MODELS)} and owner/name of the Hugging Face hub"
        f"{nearest(name, BUNDLED_MODELS)}"
    )


def fetch_repository(name: str) -> Path:
    """The folder that a repository's model was downloaded to, now or before.

    Raises:
        UserError: huggingface_hub is not installed, there is no such repository, or no network.
    """
    try:
        import huggingface_hub
    except ImportError:
        raise UserError(
            f"model: got {shown(name)}, which is no directory here; allowed is a repository of the "
            "Hugging Face hub after `pip install huggingface_hub`"
        ) from None
    try:
        folder = huggingface_hub.snapshot_download(
            name, allow_patterns=[CONFIG_FILE, *WEIGHT_FILES.values()]
        )
    # Its errors, its HTTP client's and the system's have no common class.
    except Exception as error:  # noqa: BLE001
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise UserError(
            f"model: got {shown(name)}, which is no directory here and cannot be fetched from the "
            f"Hugging Face hub: {reason}"
        ) from None
    return Path(folder)
