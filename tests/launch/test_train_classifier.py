"""The script that trains the small classifiers: what it writes, says and refuses."""

import pytest

from lpd_jax.evaluation.avatar_classifier import load_classifier
from lpd_jax.evaluation.clip_classifier import load_clip_classifier
from tests import tiny
from tests.launch import one_process

SCRIPT = tiny.REPOSITORY / "launch" / "train_classifier.py"
# A fortieth of the pictures, which is one step; and no clips, which take minutes.
LITTLE = """
from lpd_jax import bundled
from lpd_jax.evaluation.clip_classifier import load_clip_classifier
from lpd_jax.studies import clip_classifier_training
load_all = bundled.load_avatars
bundled.load_avatars = lambda split: tuple(part[::40] for part in load_all(split))
clip_classifier_training.train_clip_classifier = lambda settings: load_clip_classifier()
"""


def test_both_classifiers_are_written_and_read_back(tmp_path):
    calls = [
        ["--num_epochs=1", "--output=pictures.safetensors"],
        ["--data=moving_avatars", "--num_steps=1", "--output=clips.safetensors"],
    ]
    cases = [(tmp_path, options) for options in calls]
    pictures, clips = one_process.run_cases(SCRIPT, cases, tmp_path, LITTLE)
    assert pictures.code == clips.code == 0, (pictures.err, clips.err)
    assert pictures.out.startswith("wrote pictures.safetensors: ")
    assert pictures.out.endswith("% of the validation pictures right\n")
    written = load_classifier(tmp_path / "pictures.safetensors")
    assert written.class_names == load_classifier().class_names
    assert written.digest != load_classifier().digest
    assert clips.out.startswith("wrote clips.safetensors: of validation clips ")
    written = load_clip_classifier(tmp_path / "clips.safetensors")
    assert written.digest == load_clip_classifier().digest


WRONG = [
    (["--output=c.txt"], ["output: got 'c.txt', allowed are names ending in .safetensors"]),
    (["--num_epochs=0"], ["num_epochs: got 0, allowed are values above 0"]),
    (["--num_epochs=1e3"], ["num_epochs: got '1e3', allowed is a whole number, such as 1000"]),
    (["--num_steps=3"], ["num_steps: got 3, allowed with --data=moving_avatars"]),
    (["--data=moving_avatars", "--num_epochs=3"], ["num_epochs: got 3, allowed with --data=ava"]),
    (["--data=clips"], ["data", "avatars12"]),
    (["--seed=-1"], ["seed: got -1"]),
]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    cases = [options for options, _ in WRONG]
    return one_process.refused(SCRIPT, cases, tmp_path_factory.mktemp("wrong"))


@pytest.mark.parametrize("case", range(len(WRONG)), ids=lambda case: WRONG[case][0][-1])
def test_a_wrong_option_is_one_line_and_writes_nothing(refusals, case):
    one_process.check_refusal(refusals[case], WRONG[case][1])
