"""Weights of the Hugging Face hub, in a folder of this machine: downloaded once, converted once."""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors

from lpd_jax.models.family import is_tokenizer
from lpd_jax.runtime.compilation_cache import default_cache_dir
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.runtime.json_files import read_json
from lpd_jax.runtime.locks import in_turn
from lpd_jax.weights.from_torch.conversion import convert_file, directory_config
from lpd_jax.weights.from_torch.sharded_files import PART, read_places
from lpd_jax.weights.model_card import ModelFacts, model_card
from lpd_jax.weights.model_directory import (
    CHECKPOINTS,
    CONFIG_FILE,
    WEIGHT_FILES,
    read_directory_config,
    save_model_directory,
)
from lpd_jax.weights.published import PUBLISHED, Published, find_published

WEIGHTS = tuple(WEIGHT_FILES.values())
INDEX = ".index.json"  # of a checkpoint in several files
STATUS = re.compile(r"\d{3} (Client|Server) Error\b")  # a line that says no more than that
ACCESS = re.compile(r"log in|authenticated|token")
Tell = Callable[[str], object]


def tell_on_standard_error(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def fetch_model(name: str, tell: Tell = tell_on_standard_error) -> Path:
    """The model directory of a name of `PUBLISHED`, or of a repository that holds one.

    Published weights are converted once, into the user's cache folder.

    Args:
        name: what the user asked for; "owner/name" of a repository, or "owner/name@revision".
        tell: called with a line about what takes time.

    Raises:
        UserError: huggingface_hub is not installed, there is no such repository, no network, or a
            file that is not the one that was published.
    """
    entry = find_published(name)
    return fetch_directory(name) if entry is None else fetch_published(entry, tell)


def fetch_directory(name: str) -> Path:
    """The folder that a repository's model directory was downloaded to, now or before."""
    hub = import_hub(name, "")
    # Other libraries have files of these names, too: gigabytes are fetched of ours alone.
    repository, _, revision = name.partition("@")
    wanted = {"revision": revision or None}
    config = Path(ask(name, "", lambda: hub.hf_hub_download(repository, CONFIG_FILE, **wanted)))
    if not is_of_directory(config):
        raise UserError(
            f"model: got {shown(name)}, whose {CONFIG_FILE} is that of another library; allowed "
            "are repositories of model directories, as launch/export.py and convert.py make them"
        )
    options = {"revision": config.parent.name, "allow_patterns": [CONFIG_FILE, *WEIGHTS]}
    return Path(ask(name, "", lambda: hub.snapshot_download(repository, **options)))


def is_of_directory(config: Path) -> bool:
    """Whether a config.json is a model directory's; a damaged one is told of when it is read."""
    try:
        mapping = read_json(config)
    except ValueError:
        return True
    return isinstance(mapping, dict) and "format_version" in mapping


def fetch_published(entry: Published, tell: Tell) -> Path:
    """The model directory that published weights, with their tokenizer, were converted to."""
    parts = [entry, PUBLISHED[entry.tokenizer]] if entry.tokenizer else [entry]
    files = [fetch_file(part, tell) for part in parts]
    # A snapshot's folder is named after its commit: other weights of one name are converted anew.
    commits = "-".join(file.parent.name[:12] for file in files)
    folder = default_cache_dir() / "models" / f"{entry.name}-{commits}"
    if is_whole(folder):
        return folder
    # Of the processes that first use a model at once one converts it, the others wait.
    with in_turn(folder.parent / f".lock_{folder.name}"):
        if not is_whole(folder):
            for leftover in (folder, *folder.parent.glob(f".{folder.name}.*")):
                shutil.rmtree(leftover, ignore_errors=True)
            convert_published(entry, parts, files, folder, tell)
    return folder


def is_whole(folder: Path) -> bool:
    """Whether all of a model directory that was kept is still there, as far as headers tell."""
    try:
        config = read_directory_config(folder)
        for part, name in WEIGHT_FILES.items():
            if getattr(config, part) is not None:
                with safetensors.safe_open(folder / name, framework="numpy"):
                    pass
    except (UserError, OSError, safetensors.SafetensorError):
        return False
    return True


def convert_published(
    entry: Published, parts: list[Published], files: list[Path], folder: Path, tell: Tell
) -> None:
    """Writes the model directory of published weights, whose files are here."""
    tell(f"{entry.name}: converting {' and '.join(file.name for file in files)} once, to {folder}")
    models: dict[str, Any] = {"transformer": None, "tokenizer": None}
    weights: dict[str, Any] = {}
    for part, file in zip(parts, files, strict=True):
        grid = part.grid or None
        config, params = convert_file(file, grid_size=grid, tell=lambda line: tell(f"  {line}"))
        kind = "tokenizer" if is_tokenizer(config) else "transformer"
        models[kind], weights[kind] = config, params
    config = directory_config(models["transformer"], models["tokenizer"])
    facts = ModelFacts(
        name=entry.name,
        licence=entry.licence,
        data=entry.data,
        source=", ".join(f"{part.repository}/{part.file}".rstrip("/") for part in parts),
    )
    save_model_directory(folder, config, **weights, card=model_card(config, facts, entry.name))


def fetch_file(entry: Published, tell: Tell) -> Path:
    """The checkpoint in the hub's own cache, which goes on with what was cut off."""
    hub = import_hub(entry.name, by_hand(entry))

    def download() -> str:
        file = entry.file or only_checkpoint(hub, entry)
        cached = hub.try_to_load_from_cache(entry.repository, file)
        if not isinstance(cached, str):
            tell(
                f"{entry.name}: fetching {entry.repository}/{file} ({entry.size} or more; licence: "
                f"{entry.licence})"
            )
        path = hub.hf_hub_download(entry.repository, file)
        if file.endswith(INDEX):  # of several, which come to lie beside it
            for part in sorted(set(read_places(Path(path)).values())):
                hub.hf_hub_download(entry.repository, part)
        return path

    path = Path(ask(entry.name, by_hand(entry), download))
    if entry.sha256:
        with path.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if found != entry.sha256:
            raise UserError(
                f"model: got {entry.name}, but {path} has SHA-256 {found}, allowed is "
                f"{entry.sha256}; delete it"
            )
    return path


def only_checkpoint(hub: Any, entry: Published) -> str:
    """The name of the checkpoint that a repository holds; of one in several files, its index."""
    if is_offline():  # what is here may do
        folder = Path(hub.snapshot_download(entry.repository, local_files_only=True))
        names = sorted(path.name for path in folder.iterdir())
    else:
        names = sorted(hub.list_repo_files(entry.repository))
    files = [name for name in names if name.endswith(CHECKPOINTS) and not PART.fullmatch(name)]
    files += [name for name in names if name.endswith(INDEX)]
    if not files:
        raise FileNotFoundError(f"{entry.repository} holds no {', '.join(CHECKPOINTS)}")
    return files[0]


def import_hub(name: str, remedy: str, field: str = "model", kind: str = "directory") -> Any:
    """The hub's package. UserError about the value `name` of `field` where it is not installed."""
    try:
        import huggingface_hub
    except ImportError:
        raise UserError(
            f"{field}: got {shown(name)}, which is no {kind} here; allowed is a repository of the "
            f"Hugging Face hub after `pip install 'lpd_jax[hub]'`{remedy}"
        ) from None
    return huggingface_hub


def ask(
    name: str,
    remedy: str,
    download: Callable[[], str],
    field: str = "model",
    kind: str = "directory",
) -> str:
    """What a download gives; one line where it fails."""
    try:
        return download()
    except KeyboardInterrupt:
        raise
    # Its errors, its HTTP client's and the system's have no common class.
    except Exception as error:  # noqa: BLE001
        reason = reason_of(error)
        if is_offline():
            reason = f"HF_HUB_OFFLINE is set, and it is not in the hub's cache ({reason})"
        raise UserError(
            f"{field}: got {shown(name)}, which is no {kind} here and cannot be fetched from the "
            f"Hugging Face hub: {re.sub(r'[.:;]$', '', reason.strip())}{remedy}"
        ) from None


def reason_of(error: BaseException) -> str:
    """Why a download failed, of the hub's page of advice: what happened, and what access takes."""
    if not hasattr(error, "response") and hasattr(error.__cause__, "response"):
        error = error.__cause__ or error  # what the hub has answered, where its client guesses
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not STATUS.match(line)]
    reason = next(iter([*told, *lines]), type(error).__name__)
    remedy = [line for line in told if line != reason and ACCESS.search(line)]
    return " ".join([reason, *remedy[:1]])


def is_offline() -> bool:
    """Whether the user told huggingface_hub to do without a network."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def by_hand(entry: Published) -> str:
    """How to do without the network of this machine."""
    parts = [entry, *filter(None, [PUBLISHED.get(entry.tokenizer)])]
    files = " and ".join(f"{part.file or 'the checkpoint'} of {part.repository}" for part in parts)
    options = [f"--input={entry.file or 'CHECKPOINT'}"]
    options += [f"--tokenizer={part.file}" for part in parts[1:]]
    options += [f"--grid_size={entry.grid}"] if entry.grid else []
    return f"; by hand: download {files}, then launch/convert.py {' '.join(options)} --output=DIR"
