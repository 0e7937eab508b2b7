"""Pictures edited by a pipeline: parts drawn anew, and what lies beyond their edges."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, cast

from lpd_jax.generation import inpaint, outpaint
from lpd_jax.generation.choices import check_names
from lpd_jax.generation.pillow import as_output, check_output_type
from lpd_jax.models.settings import FIELDS


class Edits:
    """The edits of a `Pipeline`, which is one of these."""

    def inpaint(
        self, images_BHWC: Any, labels: Any, *, output_type: str = "numpy", **choices: Any
    ) -> Any:
        """Draws anew what a mask covers: uint8 `[B, H, W, 3]`, or a list of Pillow's pictures.

        Tokens without a pixel under the mask are known: the rest is drawn around them, and they
        come back untouched. One picture, mask or label serves as many as there are of the others.

        Args:
            images_BHWC: uint8, of the model's size; one `[H, W, 3]` or many, or Pillow's.
            labels: class numbers or names, one or many, of what is drawn.
            mask: bool or uint8, True or not 0 where to repaint: pixels `[H, W]`, tokens `[h, w]`,
                or one an image; or Pillow's pictures, light where to repaint (greys above 127).
            box: or (top, left, height, width) in pixels.
            ignore_hidden: for pictures with nothing of use under the mask: the tokenizer, which
                looks at a picture as a whole, sees edge pixels continued there, and then, to paint
                once more, what was painted.
            keep_reconstruction: give what the tokenizer makes of the whole picture. Otherwise all
                pixels outside of the mask are those of `images_BHWC`.
            seam: pixels inside the mask over which new and old blend; None is a token's side.
            output_type: "numpy" or "pil".
            **choices: those of a call but `group_sizes` and `output_size`, for a whole picture: of
                its `num_steps` an edit takes its share.

        Raises:
            UserError: names the argument, its value and what is allowed.
        """
        check_arguments("Pipeline.inpaint", inpaint.inpaint, choices)
        check_output_type(output_type)
        edited = inpaint.inpaint(cast(inpaint.Model, self), images_BHWC, labels, **choices)
        return as_output(edited.images_BHWC, output_type)

    def edit_class(self, images_BHWC: Any, labels: Any, **choices: Any) -> Any:
        """`inpaint`; the labels are what a region is to become, more guidance insists on them."""
        named = choices.keys() - {"output_type"}
        check_arguments("Pipeline.edit_class", inpaint.inpaint, named)
        return self.inpaint(images_BHWC, labels, **choices)

    def outpaint(
        self, images_BHWC: Any, labels: Any, *, output_type: str = "numpy", **choices: Any
    ) -> Any:
        """Paints on beyond the edges of pictures: uint8 `[B, top + H + bottom, ..., 3]`.

        The new canvas is the model's picture or larger; a larger one is inpainted window by
        window, each of the model's size and knowing part of what is there.

        Args:
            images_BHWC: uint8 or Pillow's, of any size that is whole tokens.
            labels: class numbers or names, one or many.
            top, bottom, left, right: pixels to add, whole tokens; below 0 it cuts them off.
            overlap: pixels that a window knows of what is there; None is half its side.
            output_type: "numpy" or "pil".
            **choices: what `inpaint` takes, but for mask, box and `ignore_hidden`.
        """
        check_arguments("Pipeline.outpaint", outpaint.outpaint, choices)
        check_output_type(output_type)
        edited = outpaint.outpaint(cast(inpaint.Model, self), images_BHWC, labels, **choices)
        return as_output(edited.images_BHWC, output_type)


def check_arguments(method: str, function: Callable[..., Any], names: Iterable[str]) -> None:
    """Raises TypeError for what is neither an option of an edit nor a choice of how to draw."""
    parameters = inspect.signature(function).parameters.values()
    own = [x.name for x in parameters if x.kind is inspect.Parameter.KEYWORD_ONLY]
    check_names(method, names, (*own, *FIELDS))
