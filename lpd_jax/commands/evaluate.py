"""Judges a model, pictures or clips, and writes one record with all that the numbers depend on.

    python launch/evaluate.py
    python launch/evaluate.py --model=DIR --num_images=2400 --num_steps=12 --guidance_scale=2
    python launch/evaluate.py --model=lpd_l_256 --network=inception.pth \\
        --reference=VIRTUAL_imagenet256_labeled.npz
    python launch/evaluate.py --pictures=FOLDER_OR_NPZ --network=efficientnet --reference=real.npz
    python launch/evaluate.py --tokenizer=DIR --pictures=FOLDER --image_size=256 \\
        --network=efficientnet --perceptual=efficientnet_lite0
    python launch/evaluate.py --make_reference=real.npz --pictures=tfds:imagenet2012 \\
        --split=validation --image_size=256 --network=inception.pth
    python launch/evaluate.py --model=DIR --network=i3d_pretrained_400.pt \\
        --reference=UCF-101 --lists=ucfTrainTestlist --num_images=10000 --labels=uniform

Writes OUTPUT/evaluation.json and OUTPUT/evaluation.md. Stopped, even by kill -9, the same command
goes on where it was. On several machines all processes write to one shared folder. What is left out
of how to draw is what the model was made for.
"""

from collections.abc import Iterable
from typing import Any

import jax
from absl import flags, logging

from lpd_jax.generation.choices import define_flags, read_flags
from lpd_jax.runtime import buckets, command_line, processes
from lpd_jax.runtime.atomic_files import (
    check_output_file,
    check_output_folder,
    path_within,
)
from lpd_jax.runtime.errors import UserError, shown, shown_path
from lpd_jax.weights.hub import DEFAULT_MODEL, find_model_directory
from lpd_jax.weights.loading import Weights, load_weights
from lpd_jax.weights.perceptual import NAMES, PerceptualConfig, load_perceptual

with command_line.imports_of("train"):
    from lpd_jax.data.clip_folder import NUM_LISTS
    from lpd_jax.data.token_cache import INDEX_FILE, open_token_cache
    from lpd_jax.evaluation.clip_sets import WINDOWS, ClipChoices, open_clip_set
    from lpd_jax.evaluation.drawn_pictures import LABELS, Drawer, check_plan
    from lpd_jax.evaluation.judges import Judge, default_network, open_judge
    from lpd_jax.evaluation.picture_sets import (
        SPLITS,
        PictureSet,
        first_pictures,
        open_pictures,
    )
    from lpd_jax.evaluation.protocol import default_folder, evaluate, table
    from lpd_jax.evaluation.rebuilt_pictures import (
        RECONSTRUCTION,
        RebuiltPictures,
        TokenPictures,
    )
    from lpd_jax.evaluation.references import make_reference, open_reference, save_reference
    from lpd_jax.evaluation.saved_pictures import KINDS
    from lpd_jax.evaluation.shards import SHARD_SIZE
    from lpd_jax.evaluation.suites import suites_for
    from lpd_jax.training.export import load_models

MODEL = flags.DEFINE_string("model", DEFAULT_MODEL, "A bundled model, a folder, owner/name, a run.")
PICTURES = flags.DEFINE_string("pictures", None, "Judge these: a folder, an .npz or a data set.")
SPLIT = flags.DEFINE_enum("split", "train", list(SPLITS), "Of a data set in --pictures.")
IMAGE_SIZE = flags.DEFINE_integer("image_size", 0, "Side of ADM's centre crop of --pictures.")
NUM_IMAGES = flags.DEFINE_integer(
    "num_images", 0, "Default: 50 of each class, or all that there are.", lower_bound=0
)
LABEL_KIND = flags.DEFINE_enum("labels", LABELS[0], list(LABELS), "Classes in turn, or at random.")
NETWORK = flags.DEFINE_string(
    "network", "", "avatars12, efficientnet, or Inception's weights; of clips I3D's."
)
TOKENIZER = flags.DEFINE_string(
    "tokenizer", "", "Judge what it makes of --pictures; of a token cache, decode that."
)
PERCEPTUAL = flags.DEFINE_enum(
    "perceptual", "", ["", *NAMES], "With --tokenizer: a perceptual distance too."
)
REFERENCE = flags.DEFINE_string("reference", "", "An .npz, a folder of pictures or a data set.")
MAKE_REFERENCE = flags.DEFINE_string("make_reference", None, "Write this .npz of --pictures.")
SUITES = flags.DEFINE_list(
    "suites", [], "adm, torch_fidelity; of clips styleganv, tats. Default: all that fit."
)
FRAME_RATE = flags.DEFINE_float("frame_rate", 8.0, "Frames a second of clips in folders.")
NUM_FRAMES = flags.DEFINE_integer("num_frames", 17, "Frames of clips in --pictures.")
WINDOW = flags.DEFINE_enum("window", WINDOWS[0], list(WINDOWS), "Which part of clips in folders.")
LISTS = flags.DEFINE_string("lists", "", "UCF-101's lists, by which clips in folders are split.")
LIST_NUMBER = flags.DEFINE_integer(
    "list_number", 1, "Which of its splits.", lower_bound=1, upper_bound=NUM_LISTS
)
OUTPUT = flags.DEFINE_string("output", "", "Folder. Default: one for each choice of options.")
SHARD = flags.DEFINE_integer("shard_size", SHARD_SIZE, "Pictures that a kill may cost.")
SAVE = flags.DEFINE_enum("save", "", list(KINDS), "Keep the pictures: png files, or one npz.")
CHOICES = define_flags()
processes.define_host_flags()


def main() -> None:
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.ERROR)  # TFDS says twice what is wrong
    check_options()
    with processes.job():
        if MAKE_REFERENCE.value is not None:
            write_reference(MAKE_REFERENCE.value)
        else:
            judge_pictures()


def check_options() -> None:
    """Raises UserError for an option that would change nothing."""
    given = {"pictures": PICTURES, "tokenizer": TOKENIZER, "make_reference": MAKE_REFERENCE}
    for beside in [name for name, flag in given.items() if flag.value][:1]:
        refuse(
            (MODEL.name, LABEL_KIND.name, *CHOICES),
            f"given beside {beside}, allowed where a model draws, without it",
        )
    if MAKE_REFERENCE.value:
        refuse(
            [flag.name for flag in (REFERENCE, SUITES, OUTPUT, SHARD, SAVE)],
            "given beside make_reference, allowed where pictures are judged, without it",
        )
    if PERCEPTUAL.value and not TOKENIZER.value:
        raise UserError(f"perceptual: got {shown(PERCEPTUAL.value)}, allowed with a tokenizer")


def check_options_for(judge: Judge) -> None:
    """Raises UserError for an option that changes nothing of what this network judges."""
    of_clips = [flag.name for flag in (FRAME_RATE, NUM_FRAMES, WINDOW, LISTS, LIST_NUMBER)]
    if not judge.judges_clips:
        refuse(of_clips, "given for pictures, allowed with a network that judges clips")
    else:
        check_clip_files()
    if judge.judges_clips and not LISTS.value:
        refuse([SPLIT.name, LIST_NUMBER.name], "given without lists, allowed for clips with them")
    if not PICTURES.value:
        allowed = "given without pictures, allowed with them"
        refuse([IMAGE_SIZE.name, NUM_FRAMES.name], allowed)
        if not judge.judges_clips:
            refuse([SPLIT.name], allowed)
    elif not judge.judges_clips and not is_data_set(PICTURES.value):
        refuse([SPLIT.name], "given for a folder or a file, allowed is none: all of it is judged")


def check_clip_files() -> None:
    """Raises UserError for a choice of windows where there are no files of clips to cut them of."""
    judged, real = holds_clips(PICTURES), holds_clips(REFERENCE)
    if PICTURES.value and not judged:
        refuse([NUM_FRAMES.name], "given without a folder in pictures, whose clips have their own")
    if not judged and not real:
        why = "given without a folder of clips, allowed with one in pictures or reference"
        refuse([x.name for x in (FRAME_RATE, WINDOW, LISTS, LIST_NUMBER, SPLIT)], why)


def holds_clips(flag: Any) -> bool:
    """Whether an option names a folder of clips: no file, no token cache. What is not there may."""
    name = flag.value or ""
    return name != "" and not (buckets.located(flag.name, name).is_file() or is_token_cache(name))


def is_data_set(name: str) -> bool:
    """Whether it is one with splits, rather than a folder or a file."""
    return name == "avatars12" or name.startswith("tfds:")


def refuse(names: Iterable[str], why: str) -> None:
    """Raises UserError where one of these options was given."""
    for name in names:
        if flags.FLAGS[name].present:
            raise UserError(f"{name}: {why}")


def write_reference(path: str) -> None:
    target = check_output_file("make_reference", path, (".npz",))
    asked_clips()  # refuses now what it would refuse then
    source = buckets.located("pictures", PICTURES.value) if PICTURES.value else None
    if str(source) == str(target) or is_same_file(source, target):
        raise UserError(
            f"make_reference: got {shown_path(path)}, which is --pictures, allowed is another file"
        )
    judge = open_judge(NETWORK.value)
    check_options_for(judge)
    pictures = asked_pictures(judge)
    save_reference(target, make_reference(pictures, judge))
    print(f"wrote {target}, of {pictures.count:,} {'clips' if judge.judges_clips else 'pictures'}")


def is_same_file(first: Any, second: Any) -> bool:
    """Whether two local paths lead to one file."""
    both = (first, second)
    if first is None or any(buckets.is_bucket(path) or not path.is_file() for path in both):
        return False
    return first.samefile(second)


def judge_pictures() -> None:
    clips = asked_clips()
    if PICTURES.value is not None or TOKENIZER.value:
        judge = open_judge(NETWORK.value)
        check_options_for(judge)
        pictures = asked_pictures(judge)
    else:
        files = load_models(MODEL.value)
        generation = files.config.generation.updated(read_flags(CHOICES))
        check_plan(files.config, generation, NUM_IMAGES.value, LABEL_KIND.value)
        judge = open_judge(NETWORK.value or default_network(files.config))
        check_options_for(judge)
        drawer = Drawer(files, MODEL.value)
        pictures = drawer.pictures(generation, NUM_IMAGES.value, LABEL_KIND.value)
    suites_for(judge, SUITES.value)
    name = OUTPUT.value or default_folder(pictures, judge, SHARD.value)
    folder = check_output_folder("output", name)
    check_saves_apart(folder)
    originals = pictures.originals if isinstance(pictures, RebuiltPictures) else None
    reference = open_reference(REFERENCE.value, pictures, judge, originals, clips)
    record = evaluate(
        pictures,
        judge,
        reference,
        folder,
        suites=SUITES.value,
        shard_size=SHARD.value,
        save=SAVE.value,
    )
    if jax.process_index() == 0:
        tell(record, judge.warning)
        print(f"wrote {folder / 'evaluation.json'}")


def check_saves_apart(folder: Any) -> None:
    """Raises UserError where pictures that are kept would come among those that are judged."""
    if SAVE.value != "png" or not PICTURES.value or buckets.is_bucket(folder):
        return
    source = buckets.located("pictures", PICTURES.value)
    is_folder = not buckets.is_bucket(source) and source.is_dir()
    if is_folder and path_within(folder, source) is not None:
        raise UserError(
            f"output: got {shown_path(folder)}, in --pictures, allowed with save=png is elsewhere"
        )


def tell(record: dict[str, Any], warning: str) -> None:
    print("\n".join(table([record])))
    for name, value in record["metrics"].get(RECONSTRUCTION, {}).items():
        print(f"{name}: {value:.4g}")
    if warning:
        print(f"This is {warning}.")


def asked_clips() -> ClipChoices:
    return ClipChoices(
        NUM_FRAMES.value,
        FRAME_RATE.value,
        WINDOW.value,
        LISTS.value,
        LIST_NUMBER.value,
        SPLIT.value,
    )


def originals_for(judge: Judge) -> PictureSet:
    """Of --pictures, which are what the network judges: pictures or clips."""
    name, count, size = PICTURES.value or "", NUM_IMAGES.value, IMAGE_SIZE.value
    if judge.judges_clips:
        return open_clip_set(name, image_size=size, choices=asked_clips(), num_clips=count)
    return open_pictures(name, split=SPLIT.value, image_size=size, num_images=count)


def asked_pictures(judge: Judge) -> PictureSet:
    """Of --pictures, and of what --tokenizer makes of them."""
    name, count = PICTURES.value or "", NUM_IMAGES.value
    if not TOKENIZER.value:
        return originals_for(judge)
    tokenizer = asked_tokenizer(TOKENIZER.value)
    if is_token_cache(name):
        why = "given for a token cache, allowed for pictures: its tokens are decoded as they are"
        refuse([IMAGE_SIZE.name, PERCEPTUAL.name], why)
        return first_pictures(TokenPictures(open_token_cache(name), tokenizer, name), count, name)
    originals = originals_for(judge)
    distance, name_of_distance = None, ""
    if PERCEPTUAL.value:
        config = PerceptualConfig(network=PERCEPTUAL.value)
        loss, name_of_distance = load_perceptual(config), config.network
        distance = jax.tree_util.Partial(loss.distance, loss.params)
    return RebuiltPictures(tokenizer, TOKENIZER.value, originals, distance, name_of_distance)


def is_token_cache(name: str) -> bool:
    return bool(name) and (buckets.located("pictures", name) / INDEX_FILE).is_file()


def asked_tokenizer(name: str) -> Weights:
    """Of a model by name, of a model directory, or of a run."""
    return load_weights(str(find_model_directory(name)), "tokenizer", "tokenizer")


def run() -> None:
    command_line.run(main, module=__name__)
