"""The object users call: class labels in, pictures out.

Letters: B images, N tokens per image, h w their grid, H height, W width, C channels.
"""

import math
import time
import warnings
from collections.abc import Iterator
from os import PathLike
from typing import Any

import jax
import numpy as np

from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.generation import animation, inpaint
from lpd_jax.generation.choices import takes_choices
from lpd_jax.generation.edits import Edits
from lpd_jax.generation.pillow import as_output, check_output_type
from lpd_jax.generation.request import (
    MOST_IMAGES,
    Request,
    check_request,
    make_request,
    names_of,
    resolve_labels,
)
from lpd_jax.generation.runner import Drawn, Runner
from lpd_jax.generation.tokenizing import rows_at_once
from lpd_jax.models.family import family_of, tokenizer_of
from lpd_jax.runtime.arguments import as_array, check_whole
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.runtime.jax_settings import own_settings
from lpd_jax.weights.hub import DEFAULT_MODEL, find_model_directory
from lpd_jax.weights.model_card import model_card_for
from lpd_jax.weights.model_directory import (
    WEIGHT_FILES,
    ModelFiles,
    load_model_directory,
    save_model_directory,
)
from lpd_jax.weights.parameters import put_on_device

__all__ = ["Drawn", "Pipeline"]


class Pipeline(Edits):
    """A model directory, loaded: `pipe(labels)` draws, `encode` and `decode` are the tokenizer.

    A directory may hold only a transformer (then `generate_tokens` works) or only a tokenizer (then
    `encode` and `decode` do); asking for what is missing is a UserError that says so.

    Servers check with `request` what they are asked for, `compile` it before it is waited for, and
    `draw` it, whole or in `batches`. Programs differ by schedule, batch size, kind of sampling and
    of guidance; labels, orders, masks, seeds and numbers are data.
    """

    @own_settings()
    def __init__(self, files: ModelFiles):
        """Takes what `load_model_directory` gives; UserError names weights that do not fit."""
        if not isinstance(files, ModelFiles):
            raise UserError(
                f"files: got {shown(files)}, allowed is what `load_model_directory` gives; "
                "Pipeline.from_pretrained takes names and folders"
            )
        self.config = files.config
        params = {
            part: put_on_device(
                getattr(files, part),
                getattr(self.config, part),
                f"{self.config.where}: {file}",
                for_drawing=True,
            )
            for part, file in WEIGHT_FILES.items()
            if getattr(self.config, part) is not None
        }
        self._runner = Runner(self.config, params)

    @classmethod
    def from_pretrained(cls, name_or_dir: str | PathLike = DEFAULT_MODEL) -> "Pipeline":
        """Loads a bundled or published model by name, a directory by path, or "owner/name".

        huggingface_hub fetches the last, or "owner/name@v1" of a branch, tag or commit. Weights
        that were published are converted once.

        Raises:
            FileNotFoundError, UserError: one line naming what is missing, damaged or of another
                model.
        """
        return cls(load_model_directory(find_model_directory(name_or_dir)))

    @own_settings()  # counting parameters for the card computes, too
    def save_pretrained(
        self, directory: str | PathLike, dtype: str = "float32", **facts: Any
    ) -> None:
        """Writes a model directory that `from_pretrained` loads, whole or not at all.

        Args:
            directory: new, or a model directory, of which other files (a licence) stay.
            dtype: what the weights are stored as: float32, float16 or bfloat16.
            **facts: for its README.md; see `weights.ModelFacts`.

        Raises UserError for a folder of something else, or weights that `dtype` cannot hold.
        """
        card = model_card_for(directory, self.config, facts)
        weights = {
            part: family_of(getattr(self.config, part)).for_saving(jax.device_get(params))
            for part, params in self._runner.params.items()
        }
        save_model_directory(directory, self.config, **weights, dtype=dtype, card=card)

    @property
    def class_names(self) -> list[str]:
        """One a class, or none."""
        return list(self.config.class_names)

    @property
    def grid_size(self) -> tuple[int, ...]:
        """(height, width) of its pictures in tokens."""
        grid = self.config.grid_size
        if grid is None:
            raise UserError(f"{self.config.where}: image_size: missing; allowed is [height, width]")
        return grid

    @property
    def image_size(self) -> tuple[int, ...]:
        """(height, width) of its pictures in pixels."""
        return tokenizer_of(self.config.need("tokenizer")).size_of(self.grid_size)

    @property
    def num_tokens(self) -> int:
        return math.prod(self.grid_size)

    @takes_choices
    def __call__(self, labels: Any, *, output_type: str = "numpy", **choices: Any) -> Any:
        """Draws one picture for each label: uint8 `[B, H, W, 3]`, or a list of Pillow's; clips
        `[B, T, H, W, 3]`, or a list of frames each.

        Image i depends on the seed, its label and i, not on how many are drawn with it. A choice of
        None is what the model was made for (`generation` in its config.json).

        Args:
            labels: class numbers or class names, one or many.
            output_type: "numpy", or "pil" for a list of `PIL.Image.Image`.
            order: also an array, generation rank -> raster position, `[N]` or one an image
                `[B, N]`. A PAR model knows one order and one schedule only.

        Raises:
            UserError: names the argument, its value and what is allowed.
        """
        check_output_type(output_type)
        return as_output(self.draw(self.request(labels, **choices)).images, output_type)

    @takes_choices
    def generate_tokens(self, labels: Any, **choices: Any) -> np.ndarray:
        """Takes what a call takes, needs no tokenizer: int32 `[B, N]` in raster order."""
        parts = self._runner.run(self.request(labels, **choices), to_images=False)
        return np.concatenate([tokens_BN for (tokens_BN,) in parts])

    @takes_choices
    def request(self, labels: Any, **choices: Any) -> Request:
        """Checks the arguments of a call, and fills in what was left out; draws nothing."""
        return make_request(self.config, labels, **choices)

    def compile(
        self,
        request: Request,
        *,
        mask: Any = None,
        box: Any = None,
        replay: bool = False,
        batch_size: int | None = None,
    ) -> float:
        """Compiles what `draw` needs for such a request, before anyone waits for it.

        Args:
            batch_size: what `draw` will be given.
            mask, box: an edit instead; others that keep about as many tokens share its program.
            replay: also what `stream` and `partial_images` decode with.

        Returns the seconds it took, 0.0 if all was there.
        """
        check_request(request, self.config)
        self.config.need("tokenizer")
        start, known = time.perf_counter(), self._runner.programs.num_compiled
        requests = [request]
        # What is encoded or decoded is compiled for so many, whatever the request's length.
        at_once = rows_at_once(len(request.labels), self.image_size)
        if mask is not None or box is not None:
            requests = inpaint.requests_of_edit(self, request, mask, box)
            self.encode(np.zeros((at_once, *self.image_size, 3), np.uint8))
        for each in requests:
            self._runner.compile(each, checked_batch_size(batch_size))
        if replay:
            self.decode(np.zeros((at_once, self.num_tokens), np.int32))
        is_new = self._runner.programs.num_compiled > known
        return time.perf_counter() - start if is_new else 0.0

    def draw(self, request: Request, *, batch_size: int | None = None) -> Drawn:
        """All pictures of a request and their tokens.

        Args:
            batch_size: pictures at once; None is up to 64. Which are drawn does not depend on it.
                Of up to 64, smaller requests are filled up: all share one program.
        """
        count, start = len(check_request(request, self.config).labels), 0
        for drawn in self.batches(request, batch_size=batch_size):
            if not start:  # filled as they come: joined at the end, pictures would stand twice
                whole = Drawn(*(np.empty((count, *part.shape[1:]), part.dtype) for part in drawn))
            for place, part in zip(whole, drawn, strict=True):
                place[start : start + len(part)] = part
            start += len(drawn.images)
        return whole

    def batches(self, request: Request, *, batch_size: int | None = None) -> Iterator[Drawn]:
        """The same, batch by batch: while one is looked at the next is drawn, and no more.

        50,000 pictures never stand in memory at once.
        """
        self.config.need("tokenizer")
        parts = self._runner.run(request, True, checked_batch_size(batch_size))
        yield from (Drawn(*outputs) for outputs in parts)

    @takes_choices
    def stream(self, labels: Any, *, output_type: str = "numpy", **choices: Any) -> Iterator[Any]:
        """Yields what a call gives, after each group of tokens; the last are its pictures.

        A replay: one compiled program has drawn all groups before the first comes.
        """
        if isinstance(labels, Request):
            text = "Pipeline.stream(request) is now Pipeline.batches(request)"
            warnings.warn(text, DeprecationWarning, stacklevel=3)
            return self.batches(labels)
        check_output_type(output_type)
        request = self.request(labels, **choices)
        return (as_output(x, output_type) for x in animation.replay(self, request))

    def names_of(self, labels: Any) -> list[str]:
        """The name of each class, "class 207" where the model has no names: captions."""
        num_classes = self.config.need("transformer").num_classes
        return names_of(resolve_labels(labels, num_classes, self.class_names), self.class_names)

    def encode(self, images_BHWC: Any) -> np.ndarray:
        """Tokens int32 of pictures uint8 `[B, H, W, 3]` of any size that is whole tokens.

        Returns:
            `[B, N]` in raster order for pictures of the directory's size, `[B, h, w]` for others.
        """
        self.config.need("tokenizer")
        tokens_Bhw = self._runner.encode(images_BHWC)
        if tokens_Bhw.shape[1:] != self.config.grid_size:
            return tokens_Bhw
        return tokens_Bhw.reshape(len(tokens_Bhw), -1)

    def decode(self, tokens: Any) -> np.ndarray:
        """Pictures uint8 `[B, H, W, 3]` of tokens.

        Args:
            tokens: whole numbers, `[B, N]` in raster order of the directory's grid, or `[B, h, w]`
                of any grid.
        """
        self.config.need("tokenizer")
        tokens = as_array("tokens", tokens, "are whole numbers [batch, tokens]")
        grid = tokens.shape[1:] if tokens.ndim > 2 else self.grid_size
        return self._runner.decode(tokens, grid)

    def partial_images(
        self, tokens_BN: np.ndarray, order_BN: np.ndarray, schedule: GroupSchedule
    ) -> Iterator[np.ndarray]:
        """The pictures uint8 `[B, H, W, 3]` after each step, cells still to come in grey."""
        return animation.partial_images(self.decode, tokens_BN, order_BN, schedule, self.grid_size)


def checked_batch_size(batch_size: int | None) -> int | None:
    """It, once it can be one; UserError otherwise."""
    return None if batch_size is None else check_whole("batch_size", batch_size, 1, MOST_IMAGES)
