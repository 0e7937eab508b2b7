"""All of it in a bucket of a real object store: from photos to a picture, by the scripts."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from tests import object_stores, tiny
from tests.data import photos

# A run of a killed process is watched for a minute before another takes it over; not here.
DRIVER = """
import runpy, sys
from lpd_jax.runtime import leases
leases.RENEW_SECONDS, leases.WATCH_SECONDS = 0.5, 2.0
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
DATA = """
        "data": {"dataset": "folder", "path": "%s/photos", "image_size": 8, "random_views": True},
        "every": {"log": 1, "evaluate": 0, "save": 5, "sample": 0},
"""
VQ_CONFIG = """
from ml_collections import ConfigDict
def get_config():
    return ConfigDict({
        "num_steps": 2,
        "batch_size": 4,
        "model": {
            "family": "vq", "base_channels": 32, "channel_multipliers": (1,), "num_res_blocks": 1,
            "z_channels": 32, "codebook_size": 32, "patch_size": 2,
        },
        %s
    })
"""
LPD_CONFIG = """
from ml_collections import ConfigDict
def get_config():
    return ConfigDict({
        "num_steps": 100000,
        "batch_size": 4,
        "tokenizer": "%s/vq",
        "model": {
            "family": "lpd", "num_layers": 1, "embed_dim": 16, "num_heads": 2, "mlp_ratio": 2,
            "grid_size": (4, 4), "codebook_size": 32, "num_classes": 3,
        },
        "generation": {"num_steps": 4},
        %s
    })
"""


class User:
    """Someone at a shell, whose folder holds two configs."""

    def __init__(self, store: object_stores.Store, folder: pathlib.Path):
        self.store, self.folder = store, folder
        self.files = {"vq.py", "lpd.py"}
        data = textwrap.dedent(DATA) % store.address
        (folder / "vq.py").write_text(VQ_CONFIG % data)
        (folder / "lpd.py").write_text(LPD_CONFIG % (store.address, data))
        self.environment = tiny.process_environment(folder.parent / "compiled")
        self.environment |= {"XDG_CACHE_HOME": str(folder.parent / "cache"), **store.environment}

    def start(self, script: str, *options: str, **pipes) -> subprocess.Popen:
        command = [sys.executable, "-c", DRIVER, tiny.REPOSITORY / "launch" / script, *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | pipes
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, **pipes)

    def run(self, script: str, *options: str) -> str:
        """What the script prints."""
        process = self.start(script, *options)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        # Nothing was written here, least of all to a folder called gs: or s3:.
        assert {path.name for path in self.folder.iterdir()} == self.files
        return out


@pytest.fixture(scope="module", params=["gs", "s3"])
def user(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "home").mkdir()
    with object_stores.running(request.param, folder) as store:
        for split, count in (("train", 4), ("val", 2)):
            photos.write_folder(folder / "photos" / split, count)
        for path in (folder / "photos").rglob("*.*"):
            store.put(path.relative_to(folder).as_posix(), path.read_bytes())
        yield User(store, folder / "home")


@pytest.mark.slow
def test_from_photos_to_a_picture(user):
    store, bucket = user.store, user.store.address
    user.run("train.py", "--config=vq.py", f"--workdir={bucket}/vq")
    for split, count in (("train", 12), ("validation", 6)):
        options = ("--config=lpd.py", f"--output={bucket}/tokens", f"--split={split}")
        out = user.run("cache_tokens.py", *options)
        assert out.startswith(f"{count} images in 2 views of 4x4 tokens: {bucket}/tokens/{split}")
        assert out.split(",")[0] == user.run("cache_tokens.py", *options).split(",")[0]
    options = ["--config=lpd.py", f"--workdir={bucket}/lpd", "--config.data.dataset=tokens"]
    options += [f"--config.data.path={bucket}/tokens", "--config.data.image_size=0"]
    kill_after_a_checkpoint(user, options)
    saved = max(step for step in range(5, 1000, 5) if is_saved(store, step))
    out = user.run("train.py", *options, f"--config.num_steps={saved + 3}")
    assert f"from step {saved} of {saved + 3}" in out
    lines = store.get("lpd/metrics.jsonl").decode().splitlines()
    steps = [line["step"] for line in map(json.loads, lines) if line["kind"] == "train"]
    # Lines since the last push went with the process.
    assert steps[-3:] == [saved + 1, saved + 2, saved + 3] and steps == sorted(set(steps))

    out = user.run("export.py", f"--workdir={bucket}/lpd", f"--output={bucket}/models/tiny")
    assert f"from {bucket}/lpd" in out
    assert f"from {bucket}/vq" in out
    assert json.loads(store.get("models/tiny/config.json"))["class_names"]
    options = (f"--model={bucket}/models/tiny", f"--output={bucket}/pictures/a.png")
    assert f"wrote {bucket}/pictures/a.png" in user.run("generate.py", *options)
    assert store.get("pictures/a.png").startswith(b"\x89PNG")


def kill_after_a_checkpoint(user: User, options: list[str]) -> None:
    with open(user.folder.parent / "killed.log", "w") as log:
        process = user.start("train.py", *options, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 200
        while not is_saved(user.store, 5):
            assert process.poll() is None, (user.folder.parent / "killed.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


def is_saved(store: object_stores.Store, step: int) -> bool:
    return store.has(f"lpd/checkpoints/{step}/commit_success.txt")
