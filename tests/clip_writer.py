"""Small clips whose frames say their number: their brightness is 4 times it."""

import fractions
import pathlib

import av
import numpy as np

CODECS = {".avi": "mpeg4", ".mp4": "mpeg4", ".webm": "libvpx", ".gif": "gif"}


def numbered(number, height=48, width=64):
    """A frame uint8 `[H, W, 3]`; its left half is darker than the right one."""
    frame_HWC = np.full((height, width, 3), 4 * number, np.uint8)
    frame_HWC[:, : width // 2] //= 2
    return frame_HWC


def write_clip(path, num_frames=60, rate=25, size=(48, 64), times=None):
    """Writes frames 0 to `num_frames` - 1.

    Args:
        path: its ending says the format.
        rate: frames a second.
        size: height and width.
        times: when each frame appears, in hundredths of a second; None: as the rate says.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = CODECS[path.suffix]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=100 if times else rate)
        stream.height, stream.width = size
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        if codec != "gif":
            stream.bit_rate = 4_000_000
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(numbered(number, *size), format="rgb24")
            if times:
                frame.pts, frame.time_base = times[number], fractions.Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def cut_clip(source, path, num_left_out, rate=25):
    """Leaves out the first frames as `ffmpeg -ss -c copy` does: they stay, at times before zero."""
    with av.open(str(source)) as given, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        shift = round(num_left_out / rate / given.streams.video[0].time_base)
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = stream
                container.mux(packet)
    return path


def numbers_of(frames_THWC):
    """Which frames these are, by the brightness of their brighter half."""
    edge = frames_THWC.shape[2] // 4  # away from the middle, which resizing blurs
    sides = [frames_THWC[:, :, :edge].mean((1, 2, 3)), frames_THWC[:, :, -edge:].mean((1, 2, 3))]
    return np.rint(np.maximum(*sides) / 4).astype(int)
