"""The object users call: class labels in, pictures out.

Letters: B images, N tokens per image, h w their grid, H height, W width, C channels.
"""

import math
import time
from collections.abc import Iterator
from os import PathLike
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.generation import animation, inpaint, outpaint
from lpd_jax.generation.batches import Chunk, batch_size_for, chunks_of
from lpd_jax.generation.choices import takes_choices
from lpd_jax.generation.generate import generate_images, generate_tokens
from lpd_jax.generation.programs import Programs
from lpd_jax.generation.request import Request, make_request, names_of, resolve_labels
from lpd_jax.generation.tokenizing import decode_pictures, encode_pictures
from lpd_jax.models.family import family_of, tokenizer_of
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.hub import DEFAULT_MODEL, find_model_directory
from lpd_jax.weights.model_directory import (
    WEIGHT_FILES,
    ModelFiles,
    load_model_directory,
    save_model_directory,
)
from lpd_jax.weights.parameters import put_on_device

__all__ = ["Drawn", "Pipeline"]


class Drawn(NamedTuple):
    """Pictures, and the tokens that they were decoded from."""

    images: np.ndarray  # uint8 [B, H, W, 3]
    tokens: np.ndarray  # int32 [B, N], raster order


class Pipeline:
    """A model directory, loaded: `pipe(labels)` draws, `encode` and `decode` are the tokenizer.

    A directory may hold only a transformer (then `generate_tokens` works) or only a tokenizer (then
    `encode` and `decode` do); asking for what is missing is a UserError that says so.

    Servers check with `request` what they are asked for, `compile` it before it is waited for, and
    `draw` or `stream` it. Programs differ by schedule, batch size, kind of sampling and of
    guidance; labels, orders, masks, seeds and numbers are data.
    """

    def __init__(self, files: ModelFiles):
        """Takes what `load_model_directory` gives; UserError names weights that do not fit."""
        self.config = files.config
        self._params = {
            part: put_on_device(
                getattr(files, part),
                getattr(self.config, part),
                f"{self.config.where}: {file}",
                for_drawing=True,
            )
            for part, file in WEIGHT_FILES.items()
            if getattr(self.config, part) is not None
        }
        self._programs = Programs()

    @classmethod
    def from_pretrained(cls, name_or_dir: str | PathLike = DEFAULT_MODEL) -> "Pipeline":
        """Loads a bundled model by name, a model directory by path, or "owner/name" of the hub.

        A repository of the Hugging Face hub is fetched by huggingface_hub, where that is installed.

        Raises:
            FileNotFoundError, UserError: one line naming what is missing, damaged or of another
                model.
        """
        return cls(load_model_directory(find_model_directory(name_or_dir)))

    def save_pretrained(self, directory: str | PathLike, dtype: str = "float32") -> None:
        """Writes a model directory that `from_pretrained` loads, whole or not at all.

        Args:
            directory: new, or a model directory, of which other files (a licence) stay.
            dtype: what the weights are stored as: float32, float16 or bfloat16.

        Raises:
            UserError: a folder of something else, or weights that `dtype` cannot hold.
        """
        weights = {
            part: family_of(getattr(self.config, part)).for_saving(jax.device_get(params))
            for part, params in self._params.items()
        }
        save_model_directory(directory, self.config, **weights, dtype=dtype)

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
    def __call__(self, labels: Any, **choices: Any) -> np.ndarray:
        """Draws one picture for each label: uint8 `[B, H, W, 3]`.

        Image i depends on the seed, its label and i, not on how many are drawn with it. A choice of
        None is what the model was made for (`generation` in its config.json).

        Args:
            labels: class numbers or class names, one or many.
            order: also an array, generation rank -> raster position, `[N]` or one an image
                `[B, N]`. A PAR model knows one order and one schedule only.

        Raises:
            UserError: names the argument, its value and what is allowed.
        """
        return self.draw(self.request(labels, **choices)).images

    @takes_choices
    def generate_tokens(self, labels: Any, **choices: Any) -> np.ndarray:
        """Takes what a call takes, needs no tokenizer: int32 `[B, N]` in raster order."""
        parts = self._run(self.request(labels, **choices), to_images=False)
        return np.concatenate([tokens_BN for (tokens_BN,) in parts])

    @takes_choices
    def request(self, labels: Any, **choices: Any) -> Request:
        """Checks the arguments of a call, and fills in what was left out; draws nothing."""
        return make_request(self.config, labels, **choices)

    def compile(self, request: Request) -> float:
        """Compiles what `draw` needs for such a request; seconds it took, 0.0 if it was there."""
        self.config.need("tokenizer")
        start, known = time.perf_counter(), self._programs.num_compiled
        size = batch_size_for(len(request.labels))
        self._program(request, next(chunks_of(request, size)), to_images=True)
        is_new = self._programs.num_compiled > known
        return time.perf_counter() - start if is_new else 0.0

    def draw(self, request: Request) -> Drawn:
        """All pictures of a request and their tokens."""
        count, start = len(request.labels), 0
        for drawn in self.stream(request):
            if not start:  # filled as they come: joined at the end, pictures would stand twice
                whole = Drawn(*(np.empty((count, *part.shape[1:]), part.dtype) for part in drawn))
            for place, part in zip(whole, drawn, strict=True):
                place[start : start + len(part)] = part
            start += len(drawn.images)
        return whole

    def stream(self, request: Request) -> Iterator[Drawn]:
        """The same, batch by batch: while one is looked at the next is drawn, and no more.

        50,000 pictures never stand in memory at once.
        """
        self.config.need("tokenizer")
        for images_BHWC, tokens_BN in self._run(request, to_images=True):
            yield Drawn(images_BHWC, tokens_BN)

    def inpaint(self, images_BHWC: Any, labels: Any, **choices: Any) -> np.ndarray:
        """Draws anew what a mask covers: uint8 `[B, H, W, 3]`.

        Tokens without a pixel under the mask are known: the rest is drawn around them, and they
        come back untouched. One picture, mask or label serves as many as there are of the others.

        Args:
            images_BHWC: uint8, of the model's size; one `[H, W, 3]` or many.
            labels: class numbers or names, one or many, of what is drawn.
            mask: bool or uint8, True or not 0 where to repaint: pixels `[H, W]`, tokens `[h, w]`,
                or one an image.
            box: or (top, left, height, width) in pixels.
            ignore_hidden: for pictures with nothing of use under the mask: the tokenizer, which
                looks at a picture as a whole, sees edge pixels continued there, and then, to paint
                once more, what was painted.
            keep_reconstruction: give what the tokenizer makes of the whole picture. Otherwise all
                pixels outside of the mask are those of `images_BHWC`.
            seam: pixels inside the mask over which new and old blend; None is a token's side.
            **choices: those of a call but `group_sizes` and `output_size`, for a whole picture: of
                its `num_steps` an edit takes its share.

        Raises:
            UserError: names the argument, its value and what is allowed.
        """
        return inpaint.inpaint(self, images_BHWC, labels, **choices).images_BHWC

    def edit_class(self, images_BHWC: Any, labels: Any, **choices: Any) -> np.ndarray:
        """Draws a region anew as what it is to become; takes what `inpaint` takes.

        Args:
            labels: classes to turn the region into; a higher `guidance_scale` insists on them.
        """
        return self.inpaint(images_BHWC, labels, **choices)

    def outpaint(self, images_BHWC: Any, labels: Any, **choices: Any) -> np.ndarray:
        """Paints on beyond the edges of pictures: uint8 `[B, top + H + bottom, ..., 3]`.

        The new canvas is the model's picture or larger; a larger one is inpainted window by
        window, each of the model's size and knowing part of what is there.

        Args:
            images_BHWC: uint8, of any size that is whole tokens.
            labels: class numbers or names, one or many.
            top, bottom, left, right: pixels to add, whole tokens; below 0 it cuts them off.
            overlap: pixels that a window knows of what is there; None is half its side.
            **choices: what `inpaint` takes, but for mask, box and `ignore_hidden`.
        """
        return outpaint.outpaint(self, images_BHWC, labels, **choices).images_BHWC

    def names_of(self, labels: Any) -> list[str]:
        """The name of each class, "class 207" where the model has no names: captions."""
        num_classes = self.config.need("transformer").num_classes
        return names_of(resolve_labels(labels, num_classes, self.class_names), self.class_names)

    def encode(self, images_BHWC: Any) -> np.ndarray:
        """Tokens int32 of pictures uint8 `[B, H, W, 3]` of any size that is whole tokens.

        Returns:
            `[B, N]` in raster order for pictures of the directory's size, `[B, h, w]` for others.
        """
        config = self.config.need("tokenizer")
        tokens_Bhw = encode_pictures(config, self._params["tokenizer"], images_BHWC)
        if tokens_Bhw.shape[1:] != self.config.grid_size:
            return tokens_Bhw
        return tokens_Bhw.reshape(len(tokens_Bhw), -1)

    def decode(self, tokens: Any) -> np.ndarray:
        """Pictures uint8 `[B, H, W, 3]` of tokens.

        Args:
            tokens: whole numbers, `[B, N]` in raster order of the directory's grid, or `[B, h, w]`
                of any grid.
        """
        config = self.config.need("tokenizer")
        grid = np.shape(tokens)[1:] if np.ndim(tokens) > 2 else self.grid_size
        return decode_pictures(config, self._params["tokenizer"], tokens, grid)

    def partial_images(
        self, tokens_BN: np.ndarray, order_BN: np.ndarray, schedule: GroupSchedule
    ) -> Iterator[np.ndarray]:
        """The pictures uint8 `[B, H, W, 3]` after each step, cells still to come in grey."""
        grid = self.grid_size
        yield from animation.partial_images(
            self.decode, tokens_BN, order_BN, schedule, (grid[0], grid[1])
        )

    def _run(self, request: Request, to_images: bool) -> Iterator[tuple[np.ndarray, ...]]:
        """Outputs on the host, a batch at a time; the next one runs meanwhile."""
        left = len(request.labels)
        size = batch_size_for(left)
        running: Any = None
        for chunk in chunks_of(request, size):
            execute = self._program(request, chunk, to_images)
            started = execute(self._params, chunk, request.sampling, request.guidance)
            if running is not None:
                yield jax.device_get(running)
                left -= size
            running = started
        yield tuple(output[:left] for output in jax.device_get(running))

    def _program(self, request: Request, chunk: Chunk, to_images: bool) -> Any:
        """The compiled function; labels, orders, masks, seed and traced choices share it."""
        arguments = (self._params, chunk, request.sampling, request.guidance)
        num_known = 0 if chunk.known is None else chunk.known.tokens_BK.shape[1]
        output_size, dtype = request.generation.output_size, jnp.dtype(request.generation.dtype)
        static = (to_images, request.schedule, output_size, dtype, len(chunk.labels_B), num_known)

        def run(params, chunk, sampling, guidance):
            rows = (chunk.labels_B, chunk.order_BN, chunk.keys_B)
            choices = {"schedule": request.schedule, "sampling": sampling, "guidance": guidance}
            choices |= {"known": chunk.known, "dtype": dtype}
            model = (self.config.transformer, params["transformer"])
            if not to_images:
                return (generate_tokens(*model, *rows, **choices),)
            tokenizer = (self.config.tokenizer, params["tokenizer"])
            choices["output_size"] = output_size
            return generate_images(*model, *tokenizer, *rows, **choices)

        return self._programs.find(
            (*static, jax.tree.structure(arguments)),
            lambda: jax.jit(run).lower(*arguments).compile(),
        )
