"""The object users call: class labels in, pictures out.

Letters: B images, N tokens per image, H height, W width, C channels.
"""

import time
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import Any

import jax
import numpy as np

from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.generation import animation, generate, inpaint, outpaint
from lpd_jax.generation.batches import Chunk, batch_size_for, chunks_of, pad_rows
from lpd_jax.generation.request import Request, make_request, names_of, resolve_labels
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.model_directory import WEIGHT_FILES, ModelFiles, load_model_directory
from lpd_jax.weights.pretrained import (
    DEFAULT_MODEL,
    check_sizes,
    find_model_directory,
    model_config,
    put_on_device,
)


class Pipeline:
    """A model directory, loaded: `pipe(labels)` draws, `encode` and `decode` are the tokenizer.

    A directory may hold only a transformer (then `generate_tokens` works) or only a tokenizer (then
    `encode` and `decode` do); asking for what is missing is a ValueError that says so.
    """

    def __init__(self, files: ModelFiles, where: str = "this model"):
        """Takes what `load_model_directory` gives; ValueError names weights that do not fit.

        Args:
            where: what error messages call the model, usually its path.
        """
        self.config = files.config
        self.where = where
        self.class_names = list(files.config.get("class_names", []))
        self._configs = {
            part: model_config(files.config, part, where)
            for part in WEIGHT_FILES
            if files.config.get(part) is not None
        }
        transformer, tokenizer = map(self._configs.get, ("transformer", "tokenizer"))
        self.grid_size = check_sizes(files.config, transformer, tokenizer, where)
        self._params = {
            part: put_on_device(
                getattr(files, part), config, f"{where}: {WEIGHT_FILES[part]}", by_layer=True
            )
            for part, config in self._configs.items()
        }
        self._executables: dict[Any, Any] = {}

    @classmethod
    def from_pretrained(cls, name_or_dir: str | PathLike = DEFAULT_MODEL) -> "Pipeline":
        """Loads a bundled model by name, or a model directory by path.

        Raises:
            FileNotFoundError, ValueError: one line naming what is missing, damaged or of another
                model.
        """
        path = find_model_directory(name_or_dir)
        return cls(load_model_directory(path), where=str(path))

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of its pictures in pixels."""
        factor = self._config("tokenizer").downsample_factor
        return self.grid_size[0] * factor, self.grid_size[1] * factor

    @property
    def num_tokens(self) -> int:
        return self.grid_size[0] * self.grid_size[1]

    def __call__(
        self,
        labels,
        num_steps: int | None = None,
        group_sizes: Sequence[int] | None = None,
        order: str | np.ndarray | None = None,
        guidance_scale: float | None = None,
        guidance_schedule: str | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
        output_size: int | None = None,
    ) -> np.ndarray:
        """Draws one picture for each label: uint8 `[B, H, W, 3]`.

        Image i depends on the seed, its label and i, not on how many are drawn with it. What is
        None is what the model was made for (`generation` in its config.json).

        Args:
            labels: class numbers or class names, one or many.
            num_steps: 1 to the number of tokens, all of them being one token a step.
            group_sizes: tokens of each step, in place of `num_steps`.
            order: "raster", "random", "halton", "locality", "region", or an array `[B, N]` or
                `[N]`. A PAR model knows one order and one schedule only.
            guidance_scale: 1 is off.
            guidance_schedule: "linear" or "constant".
            temperature: 0 is argmax.
            top_k: 0 keeps all.
            top_p: 1 keeps all.
            output_size: height in pixels that the pictures are resized to (bicubic).

        Raises:
            ValueError: names the argument, its value and what is allowed.
        """
        request = self.request(
            labels,
            num_steps=num_steps,
            group_sizes=group_sizes,
            order=order,
            guidance_scale=guidance_scale,
            guidance_schedule=guidance_schedule,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            output_size=output_size,
        )
        return self.draw(request)[0]

    def generate_tokens(self, labels, *choices, **named_choices) -> np.ndarray:
        """Takes what a call takes, needs no tokenizer: int32 `[B, N]` in raster order."""
        request = self.request(labels, *choices, **named_choices)
        return self._run(request, to_images=False)[-1]

    def request(self, labels, *choices, **named_choices) -> Request:
        """Checks the arguments of a call, and fills in what was left out."""
        return make_request(self.config, labels, *choices, where=self.where, **named_choices)

    def draw(self, request: Request) -> tuple[np.ndarray, np.ndarray]:
        """Pictures uint8 `[B, H, W, 3]` and their tokens int32 `[B, N]` in raster order."""
        self._config("tokenizer")
        images_BHWC, tokens_BN = self._run(request, to_images=True)
        return images_BHWC, tokens_BN

    def inpaint(self, images_BHWC, labels, **choices) -> np.ndarray:
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
            ValueError: names the argument, its value and what is allowed.
        """
        return inpaint.inpaint(self, images_BHWC, labels, **choices).images_BHWC

    def edit_class(self, images_BHWC, labels, **choices) -> np.ndarray:
        """Draws a region anew as what it is to become; takes what `inpaint` takes.

        Args:
            labels: classes to turn the region into; a higher `guidance_scale` insists on them.
        """
        return self.inpaint(images_BHWC, labels, **choices)

    def outpaint(self, images_BHWC, labels, **choices) -> np.ndarray:
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

    def compile(self, request: Request) -> float:
        """Compiles what `draw` needs for such a request; seconds it took, 0.0 if it was there."""
        self._config("tokenizer")
        start = time.perf_counter()
        size = batch_size_for(len(request.labels))
        known = len(self._executables)
        self._executable(request, next(chunks_of(request, size)), to_images=True)
        return time.perf_counter() - start if len(self._executables) > known else 0.0

    def names_of(self, labels) -> list[str]:
        """The name of each class, "class 207" where the model has no names: captions."""
        num_classes = self._config("transformer").num_classes
        return names_of(resolve_labels(labels, num_classes, self.class_names), self.class_names)

    def encode(self, images_BHWC) -> np.ndarray:
        """Tokens int32 `[B, N]` of pictures uint8 `[B, H, W, 3]` of the model's size."""
        config = self._config("tokenizer")
        images_BHWC = np.asarray(images_BHWC)
        wanted = (*self.image_size, 3)
        if images_BHWC.dtype != np.uint8 or images_BHWC.shape[1:] != wanted:
            raise UserError(
                f"images: got {images_BHWC.dtype} {images_BHWC.shape}, allowed is uint8 "
                f"{('batch', *wanted)}; images.adm_center_crop cuts to a size"
            )
        return self._in_batches(generate.encode_images, config, images_BHWC)

    def decode(self, tokens_BN) -> np.ndarray:
        """Pictures uint8 `[B, H, W, 3]` of tokens `[B, N]` in raster order."""
        config = self._config("tokenizer")
        tokens_BN = np.asarray(tokens_BN)
        if not np.issubdtype(tokens_BN.dtype, np.integer) or tokens_BN.shape[1:] != (
            self.num_tokens,
        ):
            raise UserError(
                f"tokens: got {tokens_BN.dtype} {tokens_BN.shape}, allowed are whole numbers "
                f"('batch', {self.num_tokens})"
            )
        if tokens_BN.size and not 0 <= tokens_BN.min() <= tokens_BN.max() < config.codebook_size:
            raise UserError(
                f"tokens: got {tokens_BN.min()} to {tokens_BN.max()}, allowed are 0 to "
                f"{config.codebook_size - 1}"
            )

        def decode(config, params, tokens_BN):
            return generate.decode_images(config, params, tokens_BN, self.grid_size)

        return self._in_batches(decode, config, tokens_BN.astype(np.int32))

    def partial_images(
        self, tokens_BN: np.ndarray, order_BN: np.ndarray, schedule: GroupSchedule
    ) -> Iterator[np.ndarray]:
        """The pictures uint8 `[B, H, W, 3]` after each step, cells still to come in grey."""
        yield from animation.partial_images(
            self.decode, tokens_BN, order_BN, schedule, self.grid_size
        )

    def _config(self, part: str) -> Any:
        return self._configs.get(part) or model_config(self.config, part, self.where)

    def _run(self, request: Request, to_images: bool) -> tuple[np.ndarray, ...]:
        size = batch_size_for(len(request.labels))
        outputs = []
        for chunk in chunks_of(request, size):
            execute = self._executable(request, chunk, to_images)
            outputs.append(execute(self._params, chunk, request.sampling, request.guidance))
        joined = jax.tree.map(lambda *parts: np.concatenate(parts), *jax.device_get(outputs))
        return jax.tree.map(lambda x: x[: len(request.labels)], joined)

    def _executable(self, request: Request, chunk: Chunk, to_images: bool):
        """The compiled function; labels, orders, masks, seed and traced choices share it."""
        arguments = (self._params, chunk, request.sampling, request.guidance)
        structure = jax.tree.structure(arguments)
        num_known = 0 if chunk.known is None else chunk.known.tokens_BK.shape[1]
        static = (to_images, request.schedule, request.output_size)
        key = (*static, len(chunk.labels_B), num_known, structure)
        if key not in self._executables:

            def run(params, chunk, sampling, guidance):
                rows = (chunk.labels_B, chunk.order_BN, chunk.keys_B)
                choices = {"schedule": request.schedule, "sampling": sampling, "guidance": guidance}
                choices["known"] = chunk.known
                model = (self._configs["transformer"], params["transformer"])
                if not to_images:
                    return (generate.generate_tokens(*model, *rows, **choices),)
                tokenizer = (self._configs["tokenizer"], params["tokenizer"])
                choices["output_size"] = request.output_size
                return generate.generate_images(*model, *tokenizer, *rows, **choices)

            self._executables[key] = jax.jit(run).lower(*arguments).compile()
        return self._executables[key]

    def _in_batches(self, function, config, inputs: np.ndarray) -> np.ndarray:
        if not len(inputs):
            raise UserError(f"got a batch of {len(inputs)}, allowed are 1 and more")
        size = batch_size_for(len(inputs))
        padded = pad_rows(inputs, -len(inputs) % size)
        outputs = [
            function(config, self._params["tokenizer"], padded[start : start + size])
            for start in range(0, len(padded), size)
        ]
        return np.concatenate(jax.device_get(outputs))[: len(inputs)]
