"""Model directories by name: bundled ones, folders, repositories of the Hugging Face hub."""

import re
from os import PathLike
from typing import Any

from lpd_jax import bundled
from lpd_jax.runtime import buckets
from lpd_jax.runtime.arguments import nearest
from lpd_jax.runtime.errors import UserError, shown, shown_path
from lpd_jax.weights.checkpoint_layout import CHECKPOINTS_FOLDER
from lpd_jax.weights.fetching import fetch_model
from lpd_jax.weights.model_directory import CONFIG_FILE
from lpd_jax.weights.published import PUBLISHED, find_published

BUNDLED_MODELS = {
    "avatars12": bundled.MODEL_FOLDER,
    "avatars12_tokenizer": bundled.MODEL_FOLDER,  # the model's own, by the name it first had
    "avatars12_par": bundled.PAR_FOLDER,
    "avatars12_llamagen": bundled.LLAMAGEN_FOLDER,
    "clips": bundled.CLIPS_FOLDER,
}
DEFAULT_MODEL = "avatars12"
ALLOWED = "the name of a bundled model, a model directory or owner/name of the Hugging Face hub"
# Of the hub, as a browser shows it.
PAGE = re.compile(r"(?:https?://(?:www\.)?(?:huggingface\.co|hf\.co)|hf:/)/([\w.-]+/[\w.-]+)")
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")  # "owner/name@revision"


def bundled_folder(name: str) -> Any:
    """Where a bundled model lies; FileNotFoundError where the package came without it."""
    folder = BUNDLED_MODELS[name]
    if not folder.is_dir():
        raise FileNotFoundError(
            f"model: got {shown(name)}, whose weights are not in this installation of lpd_jax: no "
            f"folder {folder}; install it anew"
        )
    return folder


def holds_a_model(folder: Any) -> bool:
    """Whether it is a model directory or a run's workdir."""
    return (folder / CONFIG_FILE).is_file() or (folder / CHECKPOINTS_FOLDER).is_dir()


def find_model_directory(name_or_dir: str | PathLike) -> Any:
    """The folder of a bundled or published model's name, of a path, or of a repository of the hub.

    Behind a repository may stand a branch, a tag or a commit of it, "owner/name@v1". A folder that
    exists is taken before a repository of that name, and before a published model where it holds
    one: an evaluation may have its model's name. A bucket's is an `epath`.

    Raises:
        FileNotFoundError: none of them; names the bundled models.
        UserError: a repository that cannot be fetched, or a bucket that cannot be reached.
    """
    if isinstance(name_or_dir, str) and name_or_dir in BUNDLED_MODELS:
        return bundled_folder(name_or_dir)
    is_path = isinstance(name_or_dir, str | PathLike)
    name = str(name_or_dir) if is_path else ""
    if page := PAGE.match(name):
        raise UserError(f"model: got {shown(name)}, an address; allowed is {shown(page[1])} of it")
    # "" would be the current folder; what is no path is refused below.
    path = buckets.located("model", name_or_dir if name or not is_path else ".", ALLOWED)
    is_published = find_published(name) is not None
    if name and path.is_dir() and (holds_a_model(path) or not is_published):
        return path
    if is_published or (
        REPOSITORY.fullmatch(name) and not buckets.is_bucket(name) and not path.parent.is_dir()
    ):
        return fetch_model(name)
    if name and path.is_file() and (path.parent / CONFIG_FILE).is_file():
        raise FileNotFoundError(
            f"model: got {shown(name)}, which is a file of a model directory; allowed is its "
            f"folder, {shown_path(path.parent)}"
        )
    if name and path.is_file():
        raise FileNotFoundError(
            f"model: got {shown(name)}, which is a file; allowed are model directories, which "
            "launch/convert.py makes of a checkpoint"
        )
    raise FileNotFoundError(
        f"model: got {shown(name)}, which is no directory; allowed are model directories, "
        f"{', '.join(BUNDLED_MODELS)}, the published {', '.join(PUBLISHED)}, and owner/name of "
        f"the Hugging Face hub{nearest(name, [*BUNDLED_MODELS, *PUBLISHED])}"
    )
