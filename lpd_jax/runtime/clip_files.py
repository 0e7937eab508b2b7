"""Clips as people have them: AVI, MP4, WebM, GIF; any frame rate, even none; turned cameras.

PyAV reads them, and writes MP4. What it gives is what a player shows: frames upright, each from its
own time on. Pillow writes GIF and WebP, which need nothing more.

Letters: F frames of a file, T frames of a clip, H height, W width.
"""

import contextlib
import fractions
import io
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from lpd_jax.runtime.arguments import as_array, check_number
from lpd_jax.runtime.atomic_files import check_output_file, replacing_file
from lpd_jax.runtime.errors import UserError

ENDINGS = (".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
MOST_FRAMES = 2**17  # an hour at 30 a second
WRITTEN = (".gif", ".mp4", ".webp")
PALETTE_FRAMES, PALETTE_PIXELS = 17, 2**18  # of a GIF, that its colours are taken from
HIGHEST_RATE = 1000.0
QUALITY = {"libx264": {"crf": "14"}, "mpeg4": {"qscale": "2"}}  # encoders of MP4, best first
LEAST_SHARE = 0.9  # of the frames that a file announces, which are often one or two too many


class UnreadableClip(UserError):  # noqa: N818 - what it says of the file
    """A file that is no clip, is damaged, or has other frames than asked for; the message says."""


def frame_times(source: bytes | str | os.PathLike) -> np.ndarray:
    """Seconds from the first frame on at which each appears, float64 `[F]`, ascending.

    The whole file is decoded, so that what is damaged anywhere is found.

    Raises:
        FileNotFoundError: no such file.
        UnreadableClip: no clip, no video in it, or a damaged one.
    """
    times: list[float] = []
    with opened(source) as (container, stream):
        announced, seconds = stream.frames, float((stream.duration or 0) * (stream.time_base or 0))
        for frame in container.decode(stream):
            check_frame(frame, len(times))
            rate = stream.average_rate
            known = frame.time if frame.time is not None else len(times) / float(rate or 25)
            times.append(known)
    if not times:
        raise UnreadableClip("a video without a frame")
    # A file that was cut without encoding it anew lasts as long as it says, and announces frames
    # that are never shown.
    lasts = bool(seconds) and max(times) - min(times) >= LEAST_SHARE * seconds
    if len(times) < LEAST_SHARE * announced and not lasts:
        raise UnreadableClip(f"ends after {len(times)} of the {announced} frames that it announces")
    # Frames come as they are shown. Of old AVI files the times of neighbours may be swapped.
    times_F = np.sort(np.array(times))
    return times_F - times_F[0]


def read_frames(source: bytes | str | os.PathLike, indices: Sequence[int]) -> list[np.ndarray]:
    """Frames of these numbers, ascending, repeats allowed: uint8 `[H, W, 3]` each, upright.

    Raises as `frame_times` does, and UnreadableClip for a number that no frame has.
    """
    wanted, found = list(indices), list[np.ndarray]()
    with opened(source) as (container, stream):
        for number, frame in enumerate(container.decode(stream)):
            if len(found) == len(wanted):
                break
            check_frame(frame, number)
            while len(found) < len(wanted) and wanted[len(found)] == number:
                found.append(found[-1] if number in wanted[: len(found)] else pixels(frame))
    if len(found) < len(wanted):
        raise UnreadableClip(f"got no frame {wanted[len(found)]}")
    return found


@contextlib.contextmanager
def opened(source: bytes | str | os.PathLike) -> Iterator[tuple[Any, Any]]:
    """The container and its video stream; what PyAV raises meanwhile becomes one line."""
    av = import_av()
    file = io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: SIM115
    try:
        with file, av.open(file) as container:
            cover = av.stream.Disposition.attached_pic
            streams = [x for x in container.streams.video if not x.disposition & cover]
            if not streams:
                others = sorted({x.type for x in container.streams})
                held = f", only {' and '.join(others)}" if others else ""
                raise UnreadableClip(f"holds no video{held}")
            streams[0].codec_context.thread_count = 1  # readers are threads themselves
            yield container, streams[0]
    except (UserError, FileNotFoundError):
        raise
    except MemoryError:
        raise UnreadableClip("more than the memory holds") from None
    except av.InvalidDataError:
        raise UnreadableClip("damaged, or no clip of a format that is read") from None
    except (av.FFmpegError, OSError, ValueError, EOFError) as error:
        raise UnreadableClip(" ".join(str(error).split()) or type(error).__name__) from None


def check_frame(frame: Any, number: int) -> None:
    if frame.is_corrupt:
        raise UnreadableClip(f"frame {number} is damaged")
    if number >= MOST_FRAMES:
        raise UnreadableClip(f"got more than {MOST_FRAMES:,} frames; cut it")


def pixels(frame: Any) -> np.ndarray:
    """Uint8 `[H, W, 3]` as it is shown."""
    return upright(frame.to_ndarray(format="rgb24"), frame.rotation)


def upright(frame_HWC: np.ndarray, degrees: float) -> np.ndarray:
    """Turned counterclockwise, by the nearest quarter."""
    return np.ascontiguousarray(np.rot90(frame_HWC, round(degrees / 90) % 4))


def import_av() -> Any:
    """PyAV, which nothing but clips needs."""
    try:
        import av
        import av.stream
    except ImportError as error:
        raise UserError(
            f"clips: PyAV cannot be imported ({error}); install it: pip install 'lpd_jax[video]'"
        ) from None
    return av


def check_clip_output(name: str, path: Any) -> Any:
    """The path of a clip to write, before the work that fills it; see `check_output_file`.

    Raises:
        UserError: as there, an ending that is not written, or MP4 where PyAV is missing.
    """
    file = check_output_file(name, path, WRITTEN)
    if file.suffix.lower() == ".mp4":
        import_av()
    return file


def write_clip(path: Any, frames_THWC: Any, frame_rate: float = 8.0) -> None:
    """Writes a clip that plays for ever where the format can; whole or not at all.

    GIF has 256 colours and times of a hundredth of a second; WebP keeps each pixel; MP4 is H.264,
    whose sides are even: an odd one grows by a pixel, its last one again.

    Args:
        path: its ending says the format: .gif, .webp, .mp4.
        frames_THWC: uint8 `[T, H, W, 3]`.
        frame_rate: frames a second.

    Raises:
        UserError: frames of another type or shape, another ending, or no PyAV for MP4.
    """
    allowed = "are uint8 [frames, height, width, 3]"
    frames_THWC = as_array("frames", frames_THWC, allowed)
    shape = frames_THWC.shape
    good = len(shape) == 4 and shape[-1] == 3 and min(shape) > 0
    if frames_THWC.dtype != np.uint8 or not good:
        raise UserError(f"frames: got {frames_THWC.dtype} {shape}, allowed {allowed}")
    rate = check_number("frame_rate", frame_rate, 0.01, HIGHEST_RATE)
    file = check_clip_output("path", path)
    with replacing_file(file, "the clip") as temporary:
        if file.suffix.lower() == ".mp4":
            write_video(temporary, frames_THWC, rate)
        elif file.suffix.lower() == ".gif":
            write_gif(temporary, list(frames_THWC), shown_for(len(frames_THWC), rate, 10))
        else:
            write_webp(temporary, list(frames_THWC), shown_for(len(frames_THWC), rate, 1))


def shown_for(count: int, rate: float, unit: int) -> list[int]:
    """Milliseconds of each frame, multiples of a unit: rounding does not add up."""
    ends = np.rint(np.arange(count + 1) * 1000 / rate / unit).astype(int) * unit
    return np.maximum(np.diff(ends), unit).tolist()


def write_gif(file: Any, frames: Sequence[np.ndarray], milliseconds: int | list[int]) -> None:
    """Frames uint8 `[H, W]` or `[H, W, C]`, each shown so long, again and again."""
    # One palette for the whole film, or flat areas would flicker from frame to frame.
    some = np.unique(np.linspace(0, len(frames) - 1, PALETTE_FRAMES).astype(int))
    apart = math.ceil(math.sqrt(len(some) * math.prod(frames[0].shape[:2]) / PALETTE_PIXELS))
    sample = np.concatenate([frames[i][::apart, ::apart] for i in some])
    # Refined, or a small thing of its own colour turns grey.
    palette = Image.fromarray(sample).quantize(256, kmeans=2)
    pictures = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    save_film(file, "GIF", pictures, milliseconds)


def write_webp(file: Any, frames: Sequence[np.ndarray], milliseconds: list[int]) -> None:
    """The same, each pixel as it is."""
    pictures = [Image.fromarray(frame) for frame in frames]
    save_film(file, "WEBP", pictures, milliseconds, lossless=True)


def save_film(
    file: Any,
    kind: str,
    pictures: Sequence[Image.Image],
    milliseconds: int | list[int],
    **choices: Any,
) -> None:
    """Pictures that play again and again; `choices` are of Pillow's format."""
    pictures[0].save(
        file,
        format=kind,
        save_all=True,
        append_images=pictures[1:],
        duration=milliseconds,
        loop=0,
        **choices,
    )


def write_video(file: Any, frames_THWC: np.ndarray, rate: float) -> None:
    """MP4 that every player shows."""
    av = import_av()
    codec = next(name for name in QUALITY if name in av.codecs_available)
    odd = [(0, side % 2) for side in frames_THWC.shape[1:3]]
    even_THWC = np.pad(frames_THWC, ((0, 0), *odd, (0, 0)), mode="edge")
    with av.open(str(file), "w", format="mp4") as container:
        rational = fractions.Fraction(rate).limit_denominator(1001)
        stream = container.add_stream(codec, rate=rational, options=QUALITY[codec])
        stream.height, stream.width = even_THWC.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1  # the same file on every machine
        for frame_HWC in even_THWC:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
