"""Asks carried out: a picture, how it came about, and all that draws it again.

Letters: B pictures or frames, T frames of a clip, H height, W width, C channels, N tokens.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from lpd_jax.decoding.order import ORDERS
from lpd_jax.decoding.schedule import GroupSchedule
from lpd_jax.generation import inpaint, outpaint
from lpd_jax.generation.picture_sinks import TEXT_KEY, describe_picture, settings_of
from lpd_jax.generation.request import Request, names_of
from lpd_jax.models.family import transformer_of
from lpd_jax.models.settings import FIELDS
from lpd_jax.runtime.errors import UserError
from lpd_jax.version import __version__
from lpd_jax.web import asks, pictures
from lpd_jax.web.jobs import Result

Reach = Callable[[str], None]


class Classifier(NamedTuple):
    """What says how good a picture is: by how sure it is of the class that was asked for."""

    name: str
    probabilities: Callable[[np.ndarray], np.ndarray]  # uint8 `[H, W, 3]` -> `[classes]`

    def judge(self, image_HWC: np.ndarray, label: int) -> dict[str, Any]:
        shares = self.probabilities(image_HWC)
        return {
            "name": self.name,
            "probability": round(float(shares[label]), 4),
            "likeliest": int(shares.argmax()),
        }


class Studio:
    """The models of a page and what they are asked for."""

    def __init__(
        self,
        pipes: Mapping[str, Any],
        digests: Mapping[str, str] | None = None,
        classifiers: Mapping[str, Classifier] | None = None,
    ):
        """Args:
        pipes: pipelines by the name that the page shows, the first is the default.
        digests: what names the weights of each.
        classifiers: what judges the pictures of each, where there is something that can.
        """
        self.pipes, self.digests = dict(pipes), dict(digests or {})
        self.classifiers = dict(classifiers or {})
        self.compile_seconds: float | None = None  # that the last one took
        self.is_warm = False
        self.described = {name: describe(name, pipe) for name, pipe in self.pipes.items()}

    def warm_up(self) -> None:
        """Compiles what the first visitor asks for."""
        for name, pipe in self.pipes.items():
            self._compile(pipe, pipe.request([0]), replay=not pipe.config.draws_clips)
            if name in self.classifiers:
                self.classifiers[name].judge(np.zeros((*pipe.image_size, 3), np.uint8), 0)
            if self.described[name]["can_edit"]:
                mask_hw = np.zeros(pipe.grid_size, bool)
                mask_hw[: max(1, len(mask_hw) // 4)] = True
                self._compile(pipe, pipe.request([0]), mask=mask_hw)
        self.is_warm = True

    def _compile(self, pipe: Any, request: Request, **options: Any) -> float:
        seconds = pipe.compile(request, **options)
        self.compile_seconds = seconds or self.compile_seconds
        return seconds

    def describe(self) -> dict[str, Any]:
        """What `/api/model` says of each model."""
        return {
            "version": __version__,
            "models": list(self.described.values()),
            "choices": {name: FIELDS[name].metadata["help"] for name in asks.CHOICES},
            "limits": {
                "upload_bytes": pictures.MOST_BYTES,
                "upload_pixels": pictures.MOST_PIXELS,
                "upload_types": list(pictures.TYPES),
                "canvas_sides": asks.MOST_SIDES,
            },
        }

    def work_for(self, ask: asks.Ask) -> Callable[[Reach], Result]:
        """The work of a job."""
        work = {"draw": self._draw, "outpaint": self._outpaint}.get(ask.kind, self._paint)
        return lambda reach: work(ask, reach)

    def _draw(self, ask: asks.Ask, reach: Reach) -> Result:
        pipe, request = self.pipes[ask.model], ask.request
        is_clip = pipe.config.draws_clips
        reach("compiling")
        compiled = self._compile(pipe, request, replay=ask.frames and not is_clip)
        reach("drawing")
        start = time.perf_counter()
        images_BHWC, tokens_BN = pipe.draw(request)  # clips are `[B, T, H, W, C]`
        seconds = {"compile": compiled, "draw": time.perf_counter() - start}
        image_HWC = images_BHWC[0, 0] if is_clip else images_BHWC[0]
        said = describe_picture(request, 0, self._facts(ask.model))[TEXT_KEY]
        files = {"picture.png": ("image/png", pictures.png(image_HWC, said))}
        facts = self._settings(ask) | {"seconds": seconds} | maps_of(request, pipe.grid_size)
        if ask.model in self.classifiers:
            label = int(request.labels[0])
            facts["classifier"] = self.classifiers[ask.model].judge(image_HWC, label)
        if ask.frames:
            ends = None
            frames_BHWC = images_BHWC[0]
            if not is_clip:
                frames_BHWC, ends = draw_frames(pipe, request, image_HWC, tokens_BN, reach)
            files["frames.png"] = ("image/png", pictures.sprite(frames_BHWC))
            facts["frames"] = frames_facts(frames_BHWC, ends)
        return Result(facts, files)

    def _paint(self, ask: asks.Ask, reach: Reach) -> Result:
        pipe, mask_hw = self.pipes[ask.model], ask.mask_hw
        picture_HWC = np.array(ask.picture_HWC)
        assert mask_hw is not None  # `asks.checked_paint` has it
        cell = asks.pixels_per_cell(pipe)
        window = asks.window_for(mask_hw, pipe.grid_size)
        area = tuple(slice(cell * part.start, cell * part.stop) for part in window)
        reach("compiling")
        compiled = self._compile(pipe, ask.request, mask=mask_hw[window])
        reach("drawing")
        start = time.perf_counter()
        edited = inpaint.inpaint(
            Watched(pipe, reach),
            picture_HWC[area],
            ask.request.labels,
            mask=mask_hw[window],
            **ask.options,
            **ask.choices,
        )
        picture_HWC[area] = edited.images_BHWC[0]
        seconds = {"compile": compiled, "draw": time.perf_counter() - start}
        return self._edited(ask, picture_HWC, seconds)

    def _outpaint(self, ask: asks.Ask, reach: Reach) -> Result:
        pipe = self.pipes[ask.model]
        reach("drawing")
        start = time.perf_counter()
        labels_B = ask.request.labels
        # Windows know more or fewer tokens: each number compiles as it comes.
        edited = outpaint.outpaint(
            Watched(pipe, reach), ask.picture_HWC, labels_B, **ask.options, **ask.choices
        )
        seconds = {"draw": time.perf_counter() - start}
        return self._edited(ask, edited.images_BHWC[0], seconds)

    def _edited(self, ask: asks.Ask, image_HWC: np.ndarray, seconds: dict[str, float]) -> Result:
        facts = self._settings(ask)
        said = {"version": __version__, "edit": ask.kind, **self._facts(ask.model), **facts}
        files = {"picture.png": ("image/png", pictures.png(image_HWC, json.dumps(said)))}
        return Result(facts | {"seconds": seconds}, files)

    def _facts(self, model: str) -> dict[str, Any]:
        names = self.pipes[model].class_names
        return {"model": model, "weights": self.digests.get(model), "class_names": names}

    def _settings(self, ask: asks.Ask) -> dict[str, Any]:
        label = int(ask.request.labels[0])
        pipe = self.pipes[ask.model]
        return {
            "model": ask.model,
            "label": label,
            "class": names_of(ask.request.labels, pipe.class_names)[0],
            "num_steps": ask.request.schedule.num_steps,
            "generation": dict(settings_of(ask.request)),
        }


class Watched:
    """A pipeline whose edits end between two programs, where nobody waits for them any more."""

    def __init__(self, pipe: Any, reach: Reach):
        self._pipe, self._reach = pipe, reach

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipe, name)

    def draw(self, request: Request) -> Any:
        self._reach("drawing")
        return self._pipe.draw(request)


def describe(name: str, pipe: Any) -> dict[str, Any]:
    """What the page needs to know of a model."""
    model = pipe.config.need("transformer")
    pipe.config.need("tokenizer")
    family, request = transformer_of(model), pipe.request([0])
    return {
        "name": name,
        "family": family.title,
        "classes": names_of(np.arange(model.num_classes), pipe.class_names),
        "grid": list(pipe.grid_size),
        "image_size": list(pipe.image_size),
        "cell": asks.pixels_per_cell(pipe),
        "defaults": dict(settings_of(request)) | {"num_steps": request.schedule.num_steps},
        "orders": [kind for kind in ORDERS if allowed(pipe.request, [0], order=kind)],
        "steps": [
            count
            for count in range(1, pipe.num_tokens + 1)
            if allowed(family.schedule, count, None)
        ],
        "codebook_size": model.codebook_size,
        "draws_clips": pipe.config.draws_clips,
        "can_edit": family.any_order and not pipe.config.draws_clips,
    }


def allowed(check: Callable[..., Any], *arguments: Any, **named: Any) -> bool:
    try:
        check(*arguments, **named)
    except UserError:
        return False
    return True


def maps_of(request: Request, grid: tuple[int, ...]) -> dict[str, Any]:
    """When each cell was drawn, in raster order: its rank, and its step."""
    rank_N = np.argsort(request.order[0])
    step_N = np.repeat(np.arange(request.schedule.num_steps), request.schedule.group_sizes)
    return {"grid": list(grid), "ranks": rank_N.tolist(), "steps": step_N[rank_N].tolist()}


def frames_facts(frames_BHWC: np.ndarray, ends: list[int] | None) -> dict[str, Any]:
    """Where each frame lies in the file of all.

    Args:
        ends: the step after which each picture is shown; None for the frames of a clip.
    """
    count, height, width, _ = frames_BHWC.shape
    columns = pictures.sprite_columns(count)
    facts = {"count": count, "columns": columns, "height": height, "width": width}
    return facts | ({} if ends is None else {"steps": ends})


def draw_frames(
    pipe: Any, request: Request, image_HWC: np.ndarray, tokens_BN: np.ndarray, reach: Reach
) -> tuple[np.ndarray, list[int]]:
    """The picture after some of its steps, the last among them: uint8 `[B, H, W, 3]`, and which.

    Steps that one file does not hold are shown together with those after them.
    """
    sizes_S = np.array(request.schedule.group_sizes)
    most = min(len(sizes_S), pictures.most_frames(pipe.image_size))
    ends = np.unique(np.linspace(1, len(sizes_S), most).round().astype(int))
    drawn_S = np.cumsum(sizes_S)[ends - 1]
    schedule = GroupSchedule(tuple(np.diff(drawn_S, prepend=0).tolist()))
    frames = []
    for step_BHWC in pipe.partial_images(tokens_BN, request.order, schedule):
        reach("replaying")
        frames.append(step_BHWC[0])
    return np.stack([*frames[:-1], image_HWC]), ends.tolist()
