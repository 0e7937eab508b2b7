"""What pictures are compared with: statistics of real ones, in files of several makers.

An .npz of ADM (`mu`, `sigma`, `mu_s`, `sigma_s`, and 10,000 pictures), of torch-fidelity (`mu`,
`sigma`), one of ours, which says what it was made from, or one of pictures alone.

Letters: F features, R real pictures.
"""

import contextlib
import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lpd_jax.evaluation.clip_sets import ClipChoices, check_same_images, open_clip_set
from lpd_jax.evaluation.gaussian import RunningStatistics, Statistics
from lpd_jax.evaluation.gaussian_files import DAMAGE, check_features, problem_of, unreadable
from lpd_jax.evaluation.judges import AVATARS, FEATURES, SPATIAL, Judge, is_bundled
from lpd_jax.evaluation.picture_sets import ArraySet, PictureSet, open_pictures
from lpd_jax.runtime import buckets, provenance
from lpd_jax.runtime.atomic_files import replacing_file
from lpd_jax.runtime.compilation_cache import default_cache_dir
from lpd_jax.runtime.errors import UserError, listed, shown, shown_path
from lpd_jax.runtime.foreign_files import what_instead
from lpd_jax.runtime.json_files import parse_json

NAMES = {FEATURES: ("mu", "sigma"), SPATIAL: ("mu_s", "sigma_s")}  # as ADM has them
KNOWN = ("features", "num_images", "about", *(name for pair in NAMES.values() for name in pair))
MOST_FEATURES = 10_000  # real pictures for precision, recall and the kernel distance, as ADM has
WANTED = (
    "allowed is an .npz with mu [F] and sigma [F, F], as ADM, torch-fidelity and --make_reference "
    "write it, or with pictures arr_0"
)
OTHERS = f"a folder of pictures, {AVATARS} and tfds:NAME"


class Reference(NamedTuple):
    """Real pictures as a network sees them.

    name: for records.
    digest: SHA-256 of the file; of what was made now, of its numbers.
    statistics: tap -> Gaussian.
    features_RF: of some of the pictures, or None.
    about: what is known of how it was made.
    """

    name: str
    digest: str
    statistics: dict[str, Statistics]
    features_RF: np.ndarray | None
    about: dict[str, Any]

    def settings(self) -> dict[str, Any]:
        """What a record says of it."""
        counts = {
            "num_images": self.statistics[FEATURES].num_images or None,
            "num_features_kept": 0 if self.features_RF is None else len(self.features_RF),
        }
        return {"name": self.name, "sha256": self.digest, **counts, "about": self.about}


def make_reference(pictures: PictureSet, judge: Judge, name: str = "") -> Reference:
    """Measures real pictures, which never stand in memory all at once."""
    judge.check_size(pictures.size)
    sums = {tap: RunningStatistics() for tap in judge.widths}
    kept_R = np.unique(np.linspace(0, pictures.count - 1, MOST_FEATURES).astype(int))
    kept, done = [], 0
    for images_BHWC in pictures.batches(range(pictures.count)):
        taps = judge.taps(images_BHWC)
        for tap, features_BF in taps.items():
            sums[tap].add(features_BF)
        here = kept_R[(kept_R >= done) & (kept_R < done + len(images_BHWC))] - done
        kept.append(taps[FEATURES][here])
        done += len(images_BHWC)
    statistics = {tap: found.statistics() for tap, found in sums.items()}
    features_RF = np.concatenate(kept)
    said = pictures.settings()
    about = {
        "pictures": said,
        "network": judge.settings(),
        "versions": provenance.versions(),
        "commit": provenance.git_commit(),
    }
    digest = digest_of(statistics, features_RF)
    return Reference(name or str(said.get("pictures")), digest, statistics, features_RF, about)


def digest_of(statistics: Mapping[str, Statistics], features_RF: np.ndarray | None) -> str:
    """SHA-256 of a reference's numbers."""
    digest = hashlib.sha256(b"" if features_RF is None else np.ascontiguousarray(features_RF).data)
    for found in statistics.values():
        digest.update(np.ascontiguousarray(found.mean_F).data)
        digest.update(np.ascontiguousarray(found.covariance_FF).data)
    return digest.hexdigest()


def bundled_reference(judge: Judge) -> Reference:
    """Of the bundled training pictures; measured once and kept in the user's cache folder."""
    pictures = open_pictures(AVATARS, field="reference")
    made_of = f"{judge.digest} {pictures.settings()}"
    key = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    file = default_cache_dir() / f"reference_{AVATARS}_{key}.npz"
    if file.is_file():
        with contextlib.suppress(UserError):  # damaged: it is made again
            kept = load_reference(file, judge)
            digest = digest_of(kept.statistics, kept.features_RF)
            return kept._replace(name=AVATARS, digest=digest)
    reference = make_reference(pictures, judge, AVATARS)
    with contextlib.suppress(OSError):  # nothing but time depends on it
        file.parent.mkdir(parents=True, exist_ok=True)
        save_reference(file, reference)
    return reference


def open_reference(
    name: str,
    pictures: PictureSet,
    judge: Judge,
    originals: PictureSet | None = None,
    clips: ClipChoices | None = None,
) -> Reference:
    """What pictures are compared with, by what a user calls it.

    Args:
        name: an .npz, local or of a bucket; a folder of pictures or a data set, which are cut to
            the size of those that are judged, and measured now; "" is the originals, or, of the
            bundled classes, the bundled training pictures.
        pictures: that are to be judged.
        judge: the network.
        originals: what pictures are reconstructions of.
        clips: what is taken of clips in a folder; their frames are as many as are judged.

    Raises:
        UserError: names what it is, and what was wanted.
    """
    judge.check_size(pictures.size)
    if not name and originals is not None:
        return make_reference(originals, judge, "the originals")
    if not name and is_bundled(pictures.class_names, pictures.size):
        name = AVATARS
    if not name:
        others = "a folder of clips" if judge.judges_clips else OTHERS
        raise UserError(f"reference: missing; {WANTED}, {others}")
    if name == AVATARS:
        real = open_pictures(AVATARS, field="reference")
        # Before they are measured, which takes minutes.
        check_same_images(real.settings(), pictures.settings(), name)
        return bundled_reference(judge)
    if name.startswith("tfds:") or buckets.located("reference", name).is_dir():
        return make_reference(real_pictures(name, pictures, clips), judge, name)
    with buckets.local_file("reference", name) as path:
        reference = load_reference(path, judge, pictures.size)._replace(name=name)
    check_same_images(reference.about.get("pictures"), pictures.settings(), name)
    return reference


def real_pictures(name: str, pictures: PictureSet, clips: ClipChoices | None) -> PictureSet:
    """Those of a folder or a data set, of the kind and size of those that are judged."""
    *frames, height, width = pictures.size
    size = height if height == width else 0
    if not frames:
        return open_pictures(name, image_size=size, field="reference")
    choices = dataclasses.replace(clips or ClipChoices(), num_frames=frames[0])
    return open_clip_set(name, image_size=size, choices=choices, field="reference")


def save_reference(path: Any, reference: Reference) -> None:
    """Writes an .npz that `load_reference` reads, whole or not at all; ADM's names, and `about`."""
    arrays: dict[str, Any] = {"num_images": reference.statistics[FEATURES].num_images}
    for tap, found in reference.statistics.items():
        mu, sigma = NAMES[tap]
        arrays |= {mu: found.mean_F, sigma: found.covariance_FF}
    if reference.features_RF is not None:
        arrays["features"] = reference.features_RF
    arrays["about"] = np.array(json.dumps(reference.about))
    with replacing_file(path, "the reference") as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def load_reference(
    path: Any, judge: Judge, size: tuple[int, ...] | None = None, field: str = "reference"
) -> Reference:
    """Reads a reference and checks that it is one for this network and these pictures.

    Where the file holds pictures, as ADM's do, those give the features for precision and recall,
    and the statistics where it has none.

    Args:
        path: a local .npz.
        judge: the network.
        size: (height, width) of the pictures that are to be judged.
        field: what the user calls the path.

    Raises:
        UserError: names what the file is, and what was wanted.
    """
    arrays, about = read_arrays(path, field)
    check_maker(path, about, judge, field)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    statistics = {
        tap: read_statistics(path, arrays, tap, judge, field)
        for tap in judge.widths
        if NAMES[tap][0] in arrays
    }
    features_RF = arrays.get("features")
    if features_RF is not None:
        check_features(path, features_RF, judge.widths[FEATURES], field)
    if "arr_0" in names_in(path):
        pictures = ArraySet(path, field)
        check_pictures(path, pictures, size, judge, field)
        measured = make_reference(pictures, judge)
        features_RF = measured.features_RF
        statistics = measured.statistics | statistics
        about = about | {"pictures_in_file": pictures.count, "size": list(pictures.size)}
    if FEATURES not in statistics:
        held = listed(sorted(names_in(path))) or "nothing"
        raise UserError(f"{field}: got {shown_path(path)}, which holds {held}; {WANTED}")
    return Reference(str(path), digest, statistics, features_RF, about)


def read_arrays(path: Any, field: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of the file that we look at, but its pictures, and what it says of itself."""
    if not path.is_file():
        is_folder = " is a folder of no .npz" if path.is_dir() else " is not there"
        raise UserError(f"{field}: got {shown_path(path)}, which{is_folder}; {WANTED}")
    if reason := what_instead(path):
        raise UserError(f"{field}: got {shown_path(path)}, {reason}")
    try:
        with open(path, "rb") as file, np.load(file) as found:
            arrays = {name: found[name] for name in found.files if name in KNOWN}
    except DAMAGE as error:
        raise UserError(
            f"{field}: got {shown_path(path)}, {unreadable(path, error)}; {WANTED}"
        ) from None
    text = arrays.pop("about", None)
    try:
        about = {} if text is None else parse_json(str(text))
    except ValueError:
        about = {}
    return arrays, about if isinstance(about, dict) else {}


def names_in(path: Any) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def check_maker(path: Any, about: Mapping[str, Any], judge: Judge, field: str) -> None:
    """Raises UserError for a reference that says it was made with another network."""
    made_by = about.get("network")
    if not isinstance(made_by, dict) or made_by.get("weights") == judge.digest:
        return
    raise UserError(
        f"{field}: got {shown_path(path)}, which was made with {shown(made_by.get('name'))} of "
        f"weights {shown(made_by.get('weights'))}, allowed are those of network "
        f"{shown(judge.name)} of weights {judge.digest}"
    )


def read_statistics(
    path: Any, arrays: Mapping[str, np.ndarray], tap: str, judge: Judge, field: str
) -> Statistics:
    mu, sigma = NAMES[tap]
    width = judge.widths[tap]
    try:
        mean_F, covariance_FF = (np.asarray(arrays[name], np.float64) for name in (mu, sigma))
        count = int(arrays.get("num_images", 0))
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{field}: got {shown_path(path)} without {error}; {WANTED}") from None
    if mean_F.shape != (width,) or covariance_FF.shape != (width, width):
        raise UserError(
            f"{field}: got {shown_path(path)} with {mu} {mean_F.shape} and {sigma} "
            f"{covariance_FF.shape}, allowed are the {width} features of network "
            f"{shown(judge.name)}"
        )
    if problem := problem_of(mean_F, covariance_FF):
        raise UserError(f"{field}: got {shown_path(path)}, {problem}; {WANTED}")
    return Statistics(mean_F, covariance_FF, count)


def check_pictures(
    path: Any, pictures: PictureSet, size: tuple[int, ...] | None, judge: Judge, field: str
) -> None:
    judge.check_size(pictures.size)
    if pictures.count < 2:
        raise UserError(
            f"{field}: got {shown_path(path)} of {pictures.count} pictures, allowed are 2 and more"
        )
    if size is not None and tuple(size) != tuple(pictures.size):
        raise UserError(
            f"{field}: got {shown_path(path)} of pictures of "
            f"{'x'.join(map(str, pictures.size))} pixels, allowed is one of "
            f"{'x'.join(map(str, size))}, as they are judged"
        )
