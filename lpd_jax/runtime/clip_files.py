"""Clips as people have them: AVI, MP4, WebM, GIF; any frame rate, even none; turned cameras.

PyAV reads them. What it gives is what a player shows: frames upright, each from its own time on.
Letters: F frames of a file, H height, W width.
"""

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lpd_jax.runtime.errors import UserError

ENDINGS = (".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
MOST_FRAMES = 2**17  # an hour at 30 a second
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
        announced = stream.frames
        for frame in container.decode(stream):
            check_frame(frame, len(times))
            rate = stream.average_rate
            known = frame.time if frame.time is not None else len(times) / float(rate or 25)
            times.append(known)
    if not times:
        raise UnreadableClip("a video without a frame")
    if len(times) < LEAST_SHARE * announced:
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
