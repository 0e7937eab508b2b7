import copy
import json

import jax
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

import lpd_jax
from lpd_jax.decoding.schedule import make_schedule
from lpd_jax.generation import animation
from lpd_jax.generation.batches import batch_size_for
from lpd_jax.generation.request import make_request, names_of
from lpd_jax.generation.runner import Runner
from lpd_jax.images import resize_bicubic, to_uint8
from lpd_jax.models import settings
from lpd_jax.models.par_layout import par_order
from lpd_jax.models.vq_tokenizer import VQTokenizer
from lpd_jax.pipeline import Pipeline
from lpd_jax.weights.model_directory import load_model_directory
from tests import compilations, tiny

pytestmark = pytest.mark.usefixtures("one_scan")
LABELS = [0, 1, 2, 2, 1]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tiny.write_model_directory(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def pipe(directory):
    return lpd_jax.Pipeline.from_pretrained(directory)


def test_a_call_draws_one_picture_per_label_and_tokens_decode_to_it(pipe):
    images_BHWC = pipe(LABELS, seed=3)
    tokens_BN = pipe.generate_tokens(LABELS, seed=3)
    assert (images_BHWC.shape, images_BHWC.dtype) == ((5, 8, 8, 3), np.uint8)
    assert (tokens_BN.shape, tokens_BN.dtype) == ((5, 16), np.int32)
    difference = pipe.decode(tokens_BN).astype(int) - images_BHWC
    assert np.abs(difference).max() <= 1  # rounding: the batch of a run may differ
    assert len(np.unique(tokens_BN)) > 8  # sampled, not stuck


def test_an_image_depends_on_seed_and_index_not_on_the_batch(pipe):
    tokens_BN = pipe.generate_tokens(LABELS, seed=3)  # two at a time
    assert [batch_size_for(count) for count in (5, 4, 2)] == [2, 4, 2]
    for count in (4, 2):
        alone_BN = pipe.generate_tokens(LABELS[:count], seed=3)
        np.testing.assert_array_equal(alone_BN, tokens_BN[:count])
    assert (pipe.generate_tokens(LABELS, seed=4) != tokens_BN).any()


def test_how_many_are_drawn_at_once_can_be_said(pipe):
    request = pipe.request(LABELS, seed=3)
    wanted = pipe.draw(request)
    assert pipe.compile(request, batch_size=3) > 0 == pipe.compile(request, batch_size=3)
    with compilations.counted() as compiled:
        parts = list(pipe.batches(request, batch_size=3))
    assert not compiled
    assert [len(part.tokens) for part in parts] == [3, 2]
    np.testing.assert_array_equal(np.concatenate([x.tokens for x in parts]), wanted.tokens)
    for size in (0, 2.5, "many"):
        with pytest.raises(ValueError, match=f"^batch_size: got {size!r}, allowed are whole"):
            pipe.draw(request, batch_size=size)


def test_more_at_once_than_there_are_waste_little(pipe):
    """Else three pictures would be drawn as a million."""
    request = pipe.request(LABELS, seed=3)
    wanted = pipe.draw(request)
    pipe.compile(request, batch_size=10**6)
    with compilations.counted() as compiled:
        drawn = pipe.draw(request, batch_size=10**6)
    assert not compiled
    np.testing.assert_array_equal(drawn.tokens, wanted.tokens)
    few, many = pipe.request([0] * 3), pipe.request([0] * 100, order="raster")
    at_once = pipe._runner.rows_at_once
    # Up to 64 they share the program of larger requests.
    assert [at_once(few, size) for size in (2, 8, 64, 65, 10**6)] == [2, 8, 64, 3, 3]
    assert [at_once(many, size) for size in (7, 80, 10**6)] == [7, 80, 100]


@pytest.mark.devices(2)
def test_several_devices_draw_by_the_program_that_was_compiled(tmp_path):
    files = load_model_directory(tiny.write_model_directory(tmp_path / "model"))
    weights = {part: getattr(files, part) for part in ("transformer", "tokenizer")}
    runner = Runner(files.config, weights, jax.devices()[:2])
    request = make_request(files.config, LABELS, seed=3)
    runner.compile(request, 2)
    with compilations.counted() as compiled:
        parts = list(runner.run(request, to_images=True, batch_size=2))
    assert not compiled and [len(part[0]) for part in parts] == [4, 1]


def test_only_a_new_schedule_batch_size_or_kind_of_sampling_compiles(pipe):
    def compiles(labels, **choices):
        with compilations.counted() as compiled:
            pipe.generate_tokens(labels, **choices)
        return bool(compiled)

    compiles(["cat", "dog"], seed=1)
    assert not compiles(["owl"] * 2, seed=2, order="random", temperature=1.1, guidance_scale=3.0)
    assert not compiles([0, 1], order=np.arange(16)[::-1])
    for labels, choices in ([0] * 8, {}), ([0, 1], {"num_steps": 2}), ([0, 1], {"top_k": 3}):
        assert compiles(labels, **choices) and not compiles(labels, **choices, seed=9)


def test_what_is_left_out_is_what_the_model_was_made_for(pipe):
    """tests/tiny.py says locality, 4 steps and guidance 2."""
    request = pipe.request("dog")
    assert request.labels.tolist() == [1]
    assert request.schedule == make_schedule(16, 4)
    explicit = pipe.request([1], 4, None, "locality", 2.0, "linear", 1.0, 0, 1.0)
    assert request.order.tolist() == explicit.order.tolist()
    same = jax.tree.map(np.array_equal, request[3:5], explicit[3:5])
    assert jax.tree.all(same)
    assert pipe.request(0, group_sizes=[6, 10]).schedule.group_sizes == (6, 10)


def test_labels_guidance_temperature_and_order_matter(pipe):
    """Sixteen draws with the same noise; a choice that is dropped on its way changes none."""
    plain = pipe.generate_tokens(["cat", "cat"])
    for labels, choices in (
        (["dog", "dog"], {}),
        (["cat", "cat"], {"guidance_scale": 9.0}),
        (["cat", "cat"], {"temperature": 3.0}),
        (["cat", "cat"], {"order": "raster"}),
    ):
        assert (pipe.generate_tokens(labels, **choices) != plain).any()


def test_encode_gives_tokens_of_the_models_grid(pipe):
    images_BHWC = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    tokens_BN = pipe.encode(images_BHWC)
    assert (tokens_BN.shape, tokens_BN.dtype) == ((3, 16), np.int32)
    np.testing.assert_array_equal(pipe.encode(images_BHWC[1:2]), tokens_BN[1:2])
    for bad, message in (
        (images_BHWC[:, :3], "images: got 3x8 pixels, allowed are .* multiples of 2"),
        (images_BHWC[0], "images: got uint8 .8, 8, 3., allowed is uint8 .batch, "),
        (images_BHWC / 255, "images: got float64 .* allowed is uint8"),
    ):
        with pytest.raises(ValueError, match=message):
            pipe.encode(bad)


def test_other_sizes_are_encoded_to_their_own_grid_and_decoded_from_it(pipe):
    images_BHWC = np.random.default_rng(0).integers(0, 256, (3, 4, 10, 3), dtype=np.uint8)
    tokens_Bhw = pipe.encode(images_BHWC)
    assert (tokens_Bhw.shape, tokens_Bhw.dtype) == ((3, 2, 5), np.int32)
    assert pipe.decode(tokens_Bhw).shape == images_BHWC.shape
    square_BN = pipe.encode(np.zeros((2, 8, 8, 3), np.uint8))
    np.testing.assert_array_equal(pipe.decode(square_BN.reshape(2, 4, 4)), pipe.decode(square_BN))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"labels": [3]}, "labels: got 3, .* 0 to 2"),
        ({"labels": [-1]}, "labels: got -1, .* 0 to 2"),
        ({"labels": [0.5]}, "labels: got 0.5, .* 0 to 2"),
        ({"labels": ["cta"]}, "labels: got 'cta', allowed are 0 to 2 .*did you mean 'cat'"),
        ({"labels": []}, "labels: got shape \\(0,\\)"),
        ({"num_steps": 17}, "num_steps: got 17, .* 1 to 16"),
        ({"num_steps": 0}, "num_steps: got 0, .* from 1"),
        ({"group_sizes": [4, 4]}, "group_sizes: got a sum of 8, .* 16"),
        ({"order": "spiral"}, "order: got 'spiral', allowed are raster"),
        ({"order": [0] * 16}, "order: got one for image 0 .* permutations of 0 to 15"),
        ({"order": np.arange(15)}, "order: got shape \\(15,\\)"),
        ({"guidance_schedule": "cosine"}, "guidance_schedule.*cosine"),
        ({"guidance_scale": float("nan")}, "guidance_scale.*nan"),
        ({"temperature": -1.0}, "temperature.*-1"),
        ({"top_k": -1}, "top_k.*-1"),
        ({"top_k": 33}, "top_k.*33.*32"),
        ({"top_p": 0.0}, "top_p.*0"),
        ({"top_p": 1.1}, "top_p.*1.1"),
        ({"seed": -1}, "seed: got -1, .* 0 to 4294967295"),
    ],
)
def test_a_bad_choice_is_one_line_naming_it(pipe, choices, message):
    with pytest.raises(ValueError, match=message) as error:
        pipe(**({"labels": [0]} | choices))
    assert "\n" not in str(error.value)


def test_an_argument_that_is_not_known_is_named_with_the_nearest(pipe):
    message = (
        r"^Pipeline.__call__\(\) got an unexpected .* 'guidance'; did you mean 'guidance_scale'"
    )
    with pytest.raises(TypeError, match=message):
        pipe([0], guidance=2.0)


def test_bfloat16_draws_nearly_the_same(pipe):
    tokens_BN = pipe.generate_tokens(LABELS, seed=3)
    half_BN = pipe.generate_tokens(LABELS, seed=3, dtype="bfloat16")
    assert (half_BN.shape, half_BN.dtype) == (tokens_BN.shape, tokens_BN.dtype)
    # A close call falls the other way now and then, and later tokens follow it.
    assert 0.5 < (half_BN == tokens_BN).mean() < 1


def test_the_device_says_what_is_computed_in_where_nobody_does(pipe, monkeypatch):
    monkeypatch.setattr(settings, "drawing_dtype", lambda: "bfloat16")
    assert pipe.request([0]).generation.dtype == "bfloat16"
    assert pipe.request([0], dtype="float32").generation.dtype == "float32"
    assert pipe.config.generation.dtype is None


def test_a_dtype_may_be_one_of_numpy_or_jax(pipe):
    wanted = pipe.request([0], dtype="bfloat16").generation
    for dtype in (jax.numpy.bfloat16, jax.numpy.dtype("bfloat16")):
        assert pipe.request([0], dtype=dtype).generation == wanted
    with pytest.raises(ValueError, match="^dtype: got 'float64', allowed are float32, bfloat16"):
        pipe.request([0], dtype=np.float64)


def test_the_largest_seed_works(pipe):
    assert pipe.generate_tokens([0, 0], seed=2**32 - 1).shape == (2, 16)


@pytest.mark.parametrize(
    ("num_images", "size"), [(1, 1), (2, 2), (3, 1), (7, 8), (12, 4), (16, 16), (60, 64), (129, 32)]
)
def test_batch_sizes_waste_less_than_a_quarter(num_images, size):
    assert batch_size_for(num_images) == size


@pytest.mark.parametrize(("num_clips", "size"), [(1, 1), (12, 4), (64, 16), (1200, 16)])
def test_so_many_clips_at_once_fit_into_memory(num_clips, size):
    assert batch_size_for(num_clips, num_frames=17) == size
    assert batch_size_for(num_clips, num_frames=129) == min(size, 2)


def test_so_many_large_pictures_at_once_fit_into_memory():
    sizes = [batch_size_for(64, num_pixels=side**2) for side in (256, 384, 512, 4096)]
    assert sizes == [64, 16, 16, 1]


def test_a_request_of_another_model_is_refused(pipe, tmp_path):
    par = lpd_jax.Pipeline.from_pretrained(
        tiny.write_model_directory(tmp_path / "par", tiny.PAR, order="region", num_steps=None)
    )
    sizes = par.request([0]).schedule.group_sizes
    with pytest.raises(ValueError, match="^order: got"):
        par.draw(pipe.request([0], group_sizes=sizes))
    request = pipe.request([0])
    with pytest.raises(ValueError, match="^request: got class 7, allowed are 0 to 2"):
        pipe.draw(request._replace(labels=np.array([7])))
    with pytest.raises(ValueError, match="^request: got class -1, allowed are 0 to 2"):
        pipe.draw(request._replace(labels=np.array([-1])))
    for part, counts in (
        ({"labels": np.array([], int)}, "0, 1, 0"),
        ({"labels": np.array([0, 1])}, "2, 1, 2"),
        ({"image_index": np.arange(2)}, "1, 1, 2"),
    ):
        with pytest.raises(ValueError, match=f"^request: got .* of {counts} images, allowed"):
            pipe.draw(request._replace(**part))


def test_tokens_of_a_grid_without_cells_are_refused(pipe):
    with pytest.raises(ValueError, match=r"^tokens: got int64 \(1, 0, 0\), allowed"):
        pipe.decode(np.zeros((1, 0, 0), np.int64))


def test_no_tokens_at_all_are_refused(pipe):
    for tokens in (np.zeros((0, 16), np.int32), np.zeros((0, 2, 2), np.int32)):
        with pytest.raises(ValueError, match="^batch: got 0 pictures, allowed are 1 and more"):
            pipe.decode(tokens)


def test_pictures_of_pillow_that_cannot_be_read_are_named(pipe, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "cut.bmp")
    content = (tmp_path / "cut.bmp").read_bytes()
    (tmp_path / "cut.bmp").write_bytes(content[:-20])
    closed = Image.new("RGB", (8, 8))
    closed.close()
    numbers, nothing = Image.new("I", (8, 8)), Image.new("F", (0, 0))
    with Image.open(tmp_path / "cut.bmp") as cut:
        for image in (cut, closed, numbers, nothing):
            with pytest.raises(ValueError, match="^images: got a picture of .* in mode .*, allow"):
                pipe.encode([image])


def test_masks_of_pillow_are_read_as_those_of_files(pipe):
    drawn = pipe([0], seed=5)
    mask_HW = np.zeros((8, 8), np.uint8)
    mask_HW[:4, :4] = 255
    painted = pipe.inpaint(drawn, [0], mask=mask_HW, seed=2)
    grey = Image.fromarray(mask_HW)
    light_first = Image.new("P", grey.size)  # its number 0 is white
    light_first.putpalette([255, 255, 255, 0, 0, 0])
    light_first.paste(1, (0, 0, 8, 8))
    light_first.paste(0, (0, 0, 4, 4))
    clear = Image.new("RGBA", grey.size)
    clear.paste((255, 255, 255, 255), (0, 0, 4, 4))
    soft = Image.fromarray(np.where(mask_HW, 128, 127).astype(np.uint8))  # the noise of a JPEG
    masks = (grey, grey.convert("1"), light_first, grey.convert("RGB"), clear, [light_first], soft)
    for mask in masks:
        np.testing.assert_array_equal(pipe.inpaint(drawn, [0], mask=mask, seed=2), painted)


def test_the_same_is_drawn_whatever_jax_is_configured_to(pipe):
    wanted_BN = pipe.generate_tokens(LABELS[:2], seed=3)
    for name, value in (
        ("jax_threefry_partitionable", False),
        ("jax_high_dynamic_range_gumbel", True),
        ("jax_numpy_dtype_promotion", "strict"),
    ):
        before = getattr(jax.config, name)
        jax.config.update(name, value)
        try:
            copied = copy.deepcopy(pipe)  # which has compiled nothing
            np.testing.assert_array_equal(copied.generate_tokens(LABELS[:2], seed=3), wanted_BN)
        finally:
            jax.config.update(name, before)


@pytest.mark.devices(2)
def test_programs_of_before_and_new_ones_draw_within_a_mesh_and_in_64_bits(pipe):
    wanted_BN = pipe.generate_tokens(LABELS[:2], seed=3)
    mesh = jax.make_mesh((2,), ("theirs",), devices=jax.devices()[:2])
    for setting in (lambda: jax.set_mesh(mesh), lambda: jax.enable_x64(True)):
        with setting():
            for one in (pipe, copy.deepcopy(pipe)):
                np.testing.assert_array_equal(one.generate_tokens(LABELS[:2], seed=3), wanted_BN)


def test_a_model_is_saved_within_a_guard_against_transfers(pipe, tmp_path):
    with jax.transfer_guard("disallow"):
        pipe.save_pretrained(tmp_path / "model")
    assert Pipeline.from_pretrained(tmp_path / "model").class_names == tiny.CLASS_NAMES


def test_what_jax_traces_is_refused_by_name(pipe):
    with pytest.raises(ValueError, match=r"^labels: got traced int32 \(2,\), allowed is one class"):
        jax.jit(pipe)(jax.numpy.zeros(2, int))
    with pytest.raises(ValueError, match="^Pipeline: called in a function that JAX traces"):
        jax.jit(lambda x: x + pipe([0]).sum())(1)


def test_a_name_is_no_model_that_was_read():
    with pytest.raises(ValueError, match="^files: got 'avatars12', allowed is .*from_pretrained"):
        Pipeline("avatars12")


def test_a_directory_with_one_model_does_what_it_can(tmp_path, pipe):
    only_tokenizer = tiny.write_model_directory(tmp_path / "vq", transformer=None)
    half = Pipeline.from_pretrained(only_tokenizer)
    tokens_BN = pipe.generate_tokens([0, 1])
    assert half.decode(tokens_BN).shape == (2, 8, 8, 3)
    with pytest.raises(ValueError, match="holds only a tokenizer: .*/vq"):
        half([0])
    sizeless = {**json.loads((only_tokenizer / "config.json").read_text()), "image_size": None}
    (only_tokenizer / "config.json").write_text(json.dumps(sizeless))
    half = Pipeline.from_pretrained(only_tokenizer)  # of a tokenizer that knows no picture size
    assert half.decode(half.encode(np.zeros((1, 6, 8, 3), np.uint8))).shape == (1, 6, 8, 3)
    with pytest.raises(ValueError, match="image_size: missing"):
        half.decode(tokens_BN)
    only_transformer = tiny.write_model_directory(tmp_path / "lpd", tokenizer=None)
    half = Pipeline.from_pretrained(only_transformer)
    np.testing.assert_array_equal(half.generate_tokens([0, 1]), tokens_BN)
    with pytest.raises(ValueError, match="holds only a transformer: .*/lpd"):
        half([0])
    with pytest.raises(ValueError, match="holds only a transformer: .*/lpd"):
        half.decode(tokens_BN)


def test_weights_of_another_model_are_named_in_one_error(tmp_path):
    path = tiny.write_model_directory(tmp_path / "model")
    file = path / "model.safetensors"
    weights = safetensors.numpy.load_file(file)
    weights["bonus"] = weights.pop("head/kernel")
    weights["class_embed"] = weights["class_embed"][:2]
    safetensors.numpy.save_file(weights, file)
    with pytest.raises(ValueError, match="does not fit the model") as error:
        Pipeline.from_pretrained(path)
    for problem in ("missing head/kernel", "unexpected bonus", "class_embed: got shape (2, 16)"):
        assert problem in str(error.value)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        (None, {"image_size": [16, 8]}, "image_size: got \\[16, 8\\], allowed is \\[8, 8\\]"),
        (None, {"class_names": ["cat"]}, "class_names: got 1, allowed are none and .* 3 classes"),
        ("tokenizer", {"codebook_size": 64}, "codebook_size: got 32 in transformer, .* 64"),
        ("transformer", {"num_lawyers": 2}, "config.json: transformer.num_lawyers: got an unknown"),
        ("transformer", {"family": "lpdd"}, "config.json: transformer.family: got 'lpdd'"),
        ("transformer", {"num_heads": 0}, "^/.*/config.json: transformer.num_heads: got 0, allow"),
        ("transformer", {"grid_size": [4, 4, 4]}, "^/.*/config.json: grid: got 4x4x4 tokens"),
        ("generation", {"order": "spiral"}, "^/.*/config.json: generation.order: got 'spiral'"),
        ("generation", {"guidance_scale": "x"}, "^/.*/config.json: generation.guidance_scale: "),
    ],
)
def test_configs_that_do_not_fit_are_named(tmp_path, part, changes, message):
    path = tiny.write_model_directory(tmp_path / "model")
    config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    (config[part] if part else config).update(changes)
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        Pipeline.from_pretrained(path)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(FileNotFoundError, match="got 'avatars13', .* allowed are .*avatars12"):
        Pipeline.from_pretrained("avatars13")


def test_importing_the_package_does_not_import_jax(tmp_path):
    code = "import sys, lpd_jax; print(lpd_jax.__version__, 'jax' in sys.modules)"
    result = tiny.run_python("-c", code, cwd=tmp_path)
    assert result.stdout.split() == [lpd_jax.__version__, "False"]


@pytest.fixture(scope="module")
def par_pipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "par"
    own = {"order": "region", "num_steps": None, "guidance_schedule": "constant"}
    own |= {"guidance_scale": 1.5, "output_size": 6}
    return Pipeline.from_pretrained(tiny.write_model_directory(folder, tiny.PAR, **own))


def test_par_draws_in_its_own_order_and_schedule(par_pipe):
    request = par_pipe.request(LABELS)
    assert request.schedule.group_sizes == (1, 1, 1, 1, 4, 4, 4)
    np.testing.assert_array_equal(request.order, np.tile(par_order(tiny.PAR), (5, 1)))
    assert request.guidance.schedule == "constant" and request.guidance.scale == 1.5
    tokens_BN = par_pipe.generate_tokens(LABELS, seed=3)
    own = {"num_steps": 7, "group_sizes": [1, 1, 1, 1, 4, 4, 4], "order": par_order(tiny.PAR)}
    np.testing.assert_array_equal(par_pipe.generate_tokens(LABELS, seed=3, **own), tokens_BN)
    assert len(np.unique(tokens_BN)) > 8


def test_pictures_are_resized_to_what_is_asked_for(par_pipe, pipe):
    tokens_BN = par_pipe.generate_tokens(LABELS, seed=3)
    large_BHWC, small_BHWC = par_pipe.decode(tokens_BN), par_pipe(LABELS, seed=3)
    assert large_BHWC.shape[1:] == (8, 8, 3) and small_BHWC.shape[1:] == (6, 6, 3)
    tokenizer = VQTokenizer(tiny.VQ).bind(
        {"params": jax.device_put(tiny.random_params(tiny.VQ, seed=1))}
    )
    floats_BHWC = jax.jit(tokenizer.decode)(tokens_BN.reshape(-1, 4, 4))
    resized_BHWC = to_uint8(resize_bicubic(floats_BHWC, 6))  # rounded and clipped once
    assert np.abs(resized_BHWC.astype(int) - small_BHWC).max() <= 1
    assert par_pipe.request(LABELS, output_size=12).generation.output_size == 12
    assert pipe(LABELS).shape[1:] == (8, 8, 3)
    with pytest.raises(
        ValueError, match="^output_size: got 0, allowed are whole numbers from 1 to 4096"
    ):
        pipe(LABELS, output_size=0)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"order": "halton"}, "^order: got 'halton', allowed is 'region': this PAR model has no"),
        ({"order": np.arange(16)}, "^order: got another array, allowed is 'region'"),
        ({"num_steps": 4}, "^num_steps: got 4, allowed is 7: this PAR model writes 4 tokens at"),
        ({"group_sizes": [8, 8]}, r"^group_sizes: got \[8, 8\], allowed are this PAR model's 4"),
    ],
)
def test_par_has_no_other_order_or_schedule(par_pipe, choices, message):
    with pytest.raises(ValueError, match=message):
        par_pipe(LABELS, **choices)


def test_captions_are_names_or_numbers(pipe):
    assert pipe.names_of([2, "cat", 1]) == ["owl", "cat", "dog"]
    assert pipe.names_of("dog") == ["dog"]
    assert names_of(np.array([0, 207]), ["cat"]) == ["cat", "class 207"]


def test_a_stream_shows_how_pictures_come_about_and_ends_with_them(pipe):
    choices = {"num_steps": 4, "seed": 5}
    frames = list(pipe.stream(LABELS, **choices))
    np.testing.assert_array_equal(frames[-1], pipe(LABELS, **choices))
    undrawn = [(frame == animation.UNDRAWN).all(-1).mean() for frame in frames]
    assert len(frames) == 4 and undrawn == sorted(undrawn, reverse=True)
    assert undrawn[-1] < undrawn[0]
    small = list(pipe.stream(LABELS, output_size=6, **choices))
    assert {frame.shape for frame in small} == {(len(LABELS), 6, 6, 3)}
    with pytest.warns(DeprecationWarning, match="batches"):
        batches = list(pipe.stream(pipe.request(LABELS, **choices)))
    np.testing.assert_array_equal(np.concatenate([x.images for x in batches]), frames[-1])


def test_pictures_of_pillow_go_in_and_come_out(pipe):
    drawn = pipe(LABELS, seed=5)
    pictures = pipe(LABELS, seed=5, output_type="pil")
    assert all(isinstance(picture, Image.Image) for picture in pictures)
    np.testing.assert_array_equal(np.stack([np.asarray(x) for x in pictures]), drawn)
    np.testing.assert_array_equal(pipe.encode(pictures), pipe.encode(drawn))
    edit = {"box": (0, 0, 4, 4), "seed": 2}
    edited = pipe.inpaint(pictures, LABELS, output_type="pil", **edit)
    np.testing.assert_array_equal(
        np.stack([np.asarray(x) for x in edited]), pipe.inpaint(drawn, LABELS, **edit)
    )
    clear = Image.new("RGBA", pictures[0].size)  # transparent: white, as in files
    assert pipe.encode(clear).tolist() == pipe.encode(np.full_like(drawn[:1], 255)).tolist()
    steps = list(pipe.stream(LABELS[0], num_steps=2, output_type="pil"))
    assert [len(step) for step in steps] == [1, 1] and isinstance(steps[0][0], Image.Image)
    for call in (pipe, pipe.stream):
        with pytest.raises(ValueError, match="^output_type: got 'jpeg', allowed are numpy, pil$"):
            call(LABELS, output_type="jpeg")
    with pytest.raises(
        ValueError, match="^images: got pictures of 8x8, 9x9 pixels, allowed is one"
    ):
        pipe.encode([Image.new("RGB", (8, 8)), Image.new("RGB", (9, 9))])


def test_one_picture_without_a_batch_is_told_what_is_missing(pipe):
    with pytest.raises(ValueError, match=r"^images: got uint8 \(8, 8, 3\), allowed is .*\[batch"):
        pipe.encode(np.zeros((8, 8, 3), np.uint8))
