"""What a run that stops early says of how it can go on."""

import jax
import pytest

from lpd_jax.runtime.disk_faults import DiskError
from lpd_jax.training import train
from lpd_jax.training.endings import naming_the_newest
from tests.training import toy

FULL = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.")


@pytest.mark.parametrize("error", [FULL, MemoryError()])
def test_a_full_memory_names_what_a_run_may_change(error, tmp_path, monkeypatch):
    with pytest.raises(DiskError) as anew, naming_the_newest(tmp_path):
        raise error
    assert "starts anew, and takes less with a higher --config.compute.accumulate" in str(
        anew.value
    )
    assert str(anew.value).endswith("or a smaller --config.batch_size")

    toy.install(monkeypatch)
    train(toy.MODEL, toy.config(2), tmp_path)
    with pytest.raises(DiskError) as resumed, naming_the_newest(tmp_path):
        raise error
    line = str(resumed.value)
    assert (
        "the same command goes on from step 2, and takes less with a higher --config.comp" in line
    )
    # What `check_same_config` refuses is not suggested.
    assert "smaller" not in line and line.endswith("its batch and model stay as they are")


def test_other_errors_are_left_as_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="^ours$"), naming_the_newest(tmp_path):
        raise RuntimeError("ours")
