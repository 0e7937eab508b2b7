"""Trains a small classifier whose features judge the bundled models; minutes on a CPU.

    python launch/train_classifier.py --output=classifier.safetensors
    python launch/train_classifier.py --data=moving_avatars --output=clips.safetensors

Those that ship (lpd_jax/bundled/classifier/) were made by these commands: the first judges
pictures, the second clips. Another one makes other distances: results measured with different
classifiers do not compare.
"""

from absl import flags

from lpd_jax import bundled
from lpd_jax.evaluation.avatar_classifier import save_classifier
from lpd_jax.runtime import command_line
from lpd_jax.runtime.arguments import as_path
from lpd_jax.runtime.atomic_files import check_output_file
from lpd_jax.runtime.errors import UserError
from lpd_jax.studies import classifier_training, clip_classifier_training

DATA = flags.DEFINE_enum(
    "data", "avatars12", ["avatars12", "moving_avatars"], "Pictures, or the clips made of them."
)
OUTPUT = flags.DEFINE_string("output", "classifier.safetensors", "The file to write.")
NUM_EPOCHS = flags.DEFINE_integer(
    "num_epochs", classifier_training.Settings.num_epochs, "Of pictures.", upper_bound=10**6
)
NUM_STEPS = flags.DEFINE_integer(
    "num_steps", clip_classifier_training.Settings.num_steps, "Of clips.", upper_bound=10**6
)
SEED = flags.DEFINE_integer("seed", classifier_training.Settings.seed, "Of weights and batches.")

ONLY_OF = {"num_epochs": "avatars12", "num_steps": "moving_avatars"}


def main() -> None:
    path = check_output_file("output", as_path("output", OUTPUT.value), (".safetensors",))
    for flag, data in ONLY_OF.items():
        if flags.FLAGS[flag].present and DATA.value != data:
            raise UserError(f"{flag}: got {flags.FLAGS[flag].value}, allowed with --data={data}")
    if DATA.value == "avatars12":
        settings = classifier_training.Settings(num_epochs=NUM_EPOCHS.value, seed=SEED.value)
        train = bundled.load_avatars("train"), bundled.load_avatars("validation")
        trained = classifier_training.train_classifier(
            *train[0], train[1], bundled.CLASS_NAMES, settings
        )
        save_classifier(path, trained)
        print(f"wrote {path}: {trained.validation_accuracy:.2%} of the validation pictures right")
        return
    clips = clip_classifier_training.train_clip_classifier(
        clip_classifier_training.Settings(num_steps=NUM_STEPS.value, seed=SEED.value)
    )
    save_classifier(path, clips)
    print(
        f"wrote {path}: of validation clips {clips.validation_accuracy:.2%} of the classes right, "
        f"{clips.motion_accuracy:.2%} of the motions, {clips.order_accuracy:.2%} of the steps "
        "from frame to frame"
    )


if __name__ == "__main__":
    command_line.run(main)
