"""Pictures as an MP4 file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from condense_nerfstudio.errors import UserError


def write_video(path: Path, pictures: Iterable[UInt8[np.ndarray, "h w 3"]], frames_per_second: float) -> None:
    """Writes an H.264 video, whole or not at all; an odd last row or column is left out, as the format wants it.

    Args:
        path: the MP4 file.
        pictures: RGB, all of one size.
        frames_per_second: how fast they follow each other.

    Raises:
        UserError: the file cannot be written.
    """
    import av
    from av.error import FFmpegError

    temporary = path.with_name(f".{path.stem}.{os.getpid()}.mp4")
    try:
        with av.open(str(temporary), "w") as file:
            stream = file.add_stream("libx264", rate=Fraction(frames_per_second).limit_denominator(1000))
            stream.pix_fmt, stream.options = "yuv420p", {"crf": "18"}
            height = width = 0
            for picture in pictures:
                if not height:
                    height, width = (side // 2 * 2 for side in picture.shape[:2])
                    stream.height, stream.width = height, width
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), format="rgb24")
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
        os.replace(temporary, path)
    except (OSError, FFmpegError) as error:
        raise UserError(f"{path} cannot be written ({error}): choose another --output-dir.") from error
    finally:
        temporary.unlink(missing_ok=True)
