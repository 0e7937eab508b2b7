"""Token caches of LPD, LlamaGen, PAR and RandAR become ours, in our order of views."""

import dataclasses
import io
import os
import tarfile

import numpy as np
import pytest

from lpd_jax.data import token_writer
from lpd_jax.data.token_cache import INDEX_FILE, check_cache, open_token_cache
from lpd_jax.data.token_import import import_tokens, open_foreign_caches, plan_import
from lpd_jax.weights.loading import Weights
from tests import tiny

TOKENIZER = Weights(tiny.VQ, tiny.random_params(tiny.VQ))
COUNT, N = 9, tiny.LPD.num_tokens
LABELS = [i // 3 for i in range(COUNT)]


def drawn(num_views, seed=0):
    return np.random.default_rng(seed).integers(0, 32, (COUNT, num_views, N))


def write_lpd(folder, tokens_BVN):
    """A class folder of each class, an .npz of each image."""
    for i, tokens_VN in enumerate(tokens_BVN):
        file = folder / tiny.CLASS_NAMES[LABELS[i]] / f"photo_{i}.npz"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, indices=tokens_VN[0].reshape(1, N), indices_flip=tokens_VN[1])


def write_llamagen(folder, tokens_BVN, labels=LABELS):
    for kind in ("codes", "labels"):
        (folder / f"imagenet384_{kind}").mkdir(parents=True)
    for i, (tokens_VN, label) in enumerate(zip(tokens_BVN, labels, strict=True)):
        np.save(folder / "imagenet384_codes" / f"{i}.npy", tokens_VN[None])
        np.save(folder / "imagenet384_labels" / f"{i}.npy", np.array([label]))


def write_randar(file, tokens_BVN, root="imagenet-llamagen-adm-256_codes/train"):
    """A .tar of folders that are called by their labels; as strings 10 sorts before 2."""
    with tarfile.open(file, "a") as tar:
        for i, tokens_VN in enumerate(tokens_BVN):
            content = io.BytesIO()
            np.save(content, tokens_VN)
            info = tarfile.TarInfo(f"{root}/{LABELS[i]}/{i}.npy")
            info.size = content.tell()
            content.seek(0)
            tar.addfile(info, content)


def take_over(output, *paths, ratios=(1.1,), split="train", model=tiny.LPD, **choices):
    caches = open_foreign_caches([str(path) for path in paths], split)
    settings = plan_import(caches, TOKENIZER, model, ratios, images_per_shard=4)
    check_cache(settings, model, settings.tokenizer)
    import_tokens(output, caches, settings, batch_size=3, num_threads=2, **choices)
    return open_token_cache(output)


def check(cache, expected_BVN, class_names=()):
    images = [cache.image(i) for i in range(len(cache))]
    np.testing.assert_array_equal([image.tokens_VN for image in images], expected_BVN)
    assert [image.label for image in images] == LABELS
    assert [image.id for image in images] == list(range(COUNT))
    assert cache.class_names == class_names and cache.settings.image_size == 8


def test_lpd_with_its_mirrors(tmp_path):
    tokens_BVN = drawn(2)
    write_lpd(tmp_path / "lpd", tokens_BVN)
    cache = take_over(tmp_path / "ours", tmp_path / "lpd")
    check(cache, tokens_BVN, class_names=tuple(tiny.CLASS_NAMES))
    assert (cache.settings.views, cache.settings.num_shards) == ("mirror", 3)


def test_names_of_any_bytes_linked_classes_and_what_macs_leave_behind(tmp_path):
    tokens_BVN = drawn(2)
    write_lpd(tmp_path / "lpd", tokens_BVN)
    first, second, _ = sorted(tiny.CLASS_NAMES)
    lpd, odd = tmp_path / "lpd", os.fsdecode(b"\xe9")
    (lpd / first / "photo_0.npz").rename(lpd / first / f"photo_0{odd}.npz")
    (lpd / "owl").rename(lpd / f"z{odd}")
    (lpd / second).rename(tmp_path / "elsewhere")
    (lpd / second).symlink_to(tmp_path / "elsewhere")
    (lpd / first / "circle").symlink_to(lpd)
    for rubbish in ("._photo.npz", ".cache/0.npz", f"{first}/._photo_0.npz"):
        (lpd / rubbish).parent.mkdir(exist_ok=True)
        (lpd / rubbish).write_bytes(b"rubbish")
    cache = take_over(tmp_path / "ours", lpd)
    check(cache, tokens_BVN, class_names=(first, second, r"z\xe9"))


def test_randar_of_a_tar_and_of_the_folder_in_it(tmp_path):
    tokens_BVN = drawn(2)
    write_randar(tmp_path / "codes.tar", tokens_BVN)
    check(take_over(tmp_path / "ours", tmp_path / "codes.tar"), tokens_BVN)
    with tarfile.open(tmp_path / "codes.tar") as tar:
        tar.extractall(tmp_path / "codes", filter="data")
    check(take_over(tmp_path / "again", tmp_path / "codes"), tokens_BVN)


def test_a_split_is_found_among_others(tmp_path):
    training_BVN, validation_BVN = drawn(2), drawn(2, seed=1)
    write_randar(tmp_path / "codes.tar", training_BVN, "codes/train")
    write_randar(tmp_path / "codes.tar", validation_BVN, "codes/val")
    check(take_over(tmp_path / "train", tmp_path / "codes.tar"), training_BVN)
    check(take_over(tmp_path / "val", tmp_path / "codes.tar", split="validation"), validation_BVN)


def five_crops(picture):
    """As torchvision cuts them: top left, top right, bottom left, bottom right, centre."""
    starts = [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)]
    return [picture[y : y + 4, x : x + 4] for y, x in starts]


def test_ten_crops_are_in_our_order(tmp_path):
    """torchvision's second five are cut from the mirrored picture; ours mirror the first five."""
    pictures = np.random.default_rng(0).integers(0, 32, (COUNT, 6, 6))
    crops = [[*five_crops(x), *five_crops(x[:, ::-1])] for x in pictures]
    write_llamagen(tmp_path / "llamagen", np.array(crops).reshape(COUNT, 10, N))
    cache = take_over(tmp_path / "ours", tmp_path / "llamagen")
    for i, picture in enumerate(pictures):
        *corners, centre = five_crops(picture)
        ours = [centre, *corners]
        mirrors = [crop[:, ::-1] for crop in ours]
        np.testing.assert_array_equal(
            cache.image(i).tokens_VN, np.array([*ours, *mirrors]).reshape(10, N)
        )


def test_ten_crops_of_two_ratios_are_joined(tmp_path):
    wide_BVN, narrow_BVN = drawn(10), drawn(10, seed=1)
    write_llamagen(tmp_path / "ten_crop", wide_BVN)
    write_llamagen(tmp_path / "ten_crop_105", narrow_BVN)
    paths = tmp_path / "ten_crop", tmp_path / "ten_crop_105"
    cache = take_over(tmp_path / "ours", *paths, ratios=(1.1, 1.05))
    five = [4, 0, 1, 2, 3]
    mirrors = [9, 6, 5, 8, 7]
    parts = [(wide_BVN, five), (narrow_BVN, five), (wide_BVN, mirrors), (narrow_BVN, mirrors)]
    check(cache, np.concatenate([tokens[:, views] for tokens, views in parts], axis=1))
    assert cache.settings.crop_ratios == (1.1, 1.05)
    with pytest.raises(ValueError, match="^crop_ratio: got 1 for 2 caches of ten crops, allowed"):
        take_over(tmp_path / "one", *paths)


def test_what_was_written_before_a_stop_is_not_read_again(tmp_path, monkeypatch):
    tokens_BVN, write_shard, written = drawn(2), token_writer.write_shard, []

    def stopping(folder, settings, shard, batches, bar):
        if len(written) == 2:
            raise KeyboardInterrupt
        write_shard(folder, settings, shard, batches, bar)
        written.append(shard)

    write_lpd(tmp_path / "lpd", tokens_BVN)
    with monkeypatch.context() as patch:
        patch.setattr(token_writer, "write_shard", stopping)
        with pytest.raises(KeyboardInterrupt):
            take_over(tmp_path / "ours", tmp_path / "lpd")
    assert written == [0, 1] and not (tmp_path / "ours" / INDEX_FILE).exists()
    for i in range(8):  # the images of those two shards, of which the first names the views
        if i:
            (tmp_path / "lpd" / tiny.CLASS_NAMES[LABELS[i]] / f"photo_{i}.npz").write_bytes(b"")
    cache = take_over(tmp_path / "ours", tmp_path / "lpd")
    check(cache, tokens_BVN, class_names=tuple(tiny.CLASS_NAMES))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: (root / "dog/photo_4.npz").write_bytes(b"PK"), "dog/photo_4.npz is missing "),
        (lambda root: np.savez(root / "dog/photo_4.npz", a=1), "dog/photo_4.npz is missing or dam"),
        (
            lambda root: np.savez(root / "dog/photo_4.npz", indices=np.full(N, 32)),
            "dog/photo_4.npz holds (1, 16) views and tokens, allowed is (2, 16): ",
        ),
        (
            lambda root: np.savez(
                root / "dog/photo_4.npz", indices=np.full(N, 32), indices_flip=np.arange(N)
            ),
            "dog/photo_4.npz holds tokens 0 to 32, allowed are 0 to 31",
        ),
        (
            lambda root: np.savez(root / "dog/photo_4.npz", indices=np.ones(N)),
            "dog/photo_4.npz holds float64 of shape (1, 16), allowed are whole numbers",
        ),
    ],
)
def test_a_bad_file_is_named(tmp_path, break_it, message):
    write_lpd(tmp_path / "lpd", drawn(2))
    break_it(tmp_path / "lpd")
    with pytest.raises(ValueError) as error:
        take_over(tmp_path / "ours", tmp_path / "lpd")
    assert str(error.value).startswith(f"from: {tmp_path}/lpd: {message}")


def test_labels_and_classes_are_those_of_the_model(tmp_path):
    write_llamagen(tmp_path / "llamagen", drawn(2), labels=[*LABELS[:-1], 3])
    with pytest.raises(ValueError, match=r"8.npy has labels \[3\], allowed is one .* from 0 to 2"):
        take_over(tmp_path / "ours", tmp_path / "llamagen")
    write_lpd(tmp_path / "lpd", drawn(2))
    model = dataclasses.replace(tiny.LPD, num_classes=4)
    with pytest.raises(ValueError, match=r"^model.num_classes: got 4, allowed is 3"):
        take_over(tmp_path / "ours", tmp_path / "lpd", model=model)


def test_what_holds_no_cache_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    write_llamagen(tmp_path / "two", drawn(2))
    (tmp_path / "two" / "imagenet256_codes").mkdir()
    (tmp_path / "two" / "imagenet256_codes" / "0.npy").write_bytes(b"")
    write_llamagen(tmp_path / "bare", drawn(2))
    (tmp_path / "bare" / "imagenet384_labels").rename(tmp_path / "elsewhere")
    write_llamagen(tmp_path / "named", drawn(2)[:1], labels=[0])
    codes = tmp_path / "named" / "imagenet384_codes"
    (codes / "0.npy").rename(codes / "first.npy")
    for name, problem in (
        ("named", "which has no I.npy in imagenet384_codes; allowed are "),
        ("nowhere", "which is not there; allowed are CLASS/NAME.npz (LPD), "),
        ("notes.txt", "which is no plain .tar ("),
        ("two", "which holds imagenet256_codes, imagenet384_codes; allowed is one"),
        ("bare", "which has no imagenet384_labels; allowed are "),
        (".", "where no validation tokens are found; allowed are"),
    ):
        path = str(tmp_path / name)
        with pytest.raises(ValueError) as error:
            open_foreign_caches([path], "validation")
        assert str(error.value).startswith(f"from: got {path!r}, {problem}")
