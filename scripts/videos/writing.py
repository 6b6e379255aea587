"""Write frames and sound as a film."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from scripts.videos.reading import Film, Images, import_av, reason
from util.files import make_folder

log = logging.getLogger(__name__)

H264 = ("libx264", "libopenh264", "h264_videotoolbox", "h264_mf")
# By the ending of the file: encoders of images, the first that is there; those of sound, the first
# if the film's own cannot be copied.
FORMATS = {
    ".mp4": (H264, ("aac", "mp3", "ac3", "opus")),
    ".mov": (H264, ("aac", "mp3", "ac3")),
    ".mkv": (H264, ("aac", "mp3", "ac3", "opus", "vorbis", "flac")),
    ".webm": (("libvpx-vp9", "libvpx"), ("opus", "vorbis")),
}
SOUND_ENCODERS = {"opus": "libopus"}  # where the encoder is not named as the codec
QUALITY = {
    "libx264": {"crf": "18"},
    "libvpx-vp9": {"crf": "24", "b": "0", "row-mt": "1", "cpu-used": "4"},
    "libvpx": {"crf": "8", "b": "8M"},
}
BT709 = 1  # the colours of HDTV, in FFmpeg's numbers


def chosen_file(path: Path) -> tuple[Path, str]:
    """Return the file to write, and its encoder: `path`, or the same as .webm if it is to be H.264,
    and there is no encoder for it.

    ValueError for an unknown ending.
    """
    if path.suffix.lower() not in FORMATS:
        endings = ", ".join(FORMATS)
        raise ValueError(
            f"OUT {path}: no film is written as {path.suffix or 'a file without an ending'}; use "
            f"{endings}, or a folder"
        )
    av = import_av()
    for file in (path, path.with_suffix(".webm")):
        for name in FORMATS[file.suffix.lower()][0]:
            with contextlib.suppress(Exception):
                av.Codec(name, "w")
                if file != path:
                    log.warning("OUT %s: no H.264 encoder is there; writing %s", path, file)
                return file, name
    raise ValueError(f"OUT {path}: PyAV has no encoder for it; pip install av brings some")


class FilmWriter:
    """Writes frames of one size, and the sound of a source, into a film."""

    def __init__(
        self, path: Path, ending: str, encoder: str, source: Film | Images, size: tuple[int, int]
    ):
        """`ending` chooses the format. `size` is (width, height); an odd one loses a column or a
        row, since H.264 and VP9 halve the colours' size.
        """
        self.av, self.source = import_av(), source
        self.size = size[0] - size[0] % 2, size[1] - size[1] % 2
        if self.size != size:
            log.info("%dx%d: odd; the film has %dx%d", *size, *self.size)
        self.container = self.av.open(str(path), "w", format=ending[1:].replace("mkv", "matroska"))
        self.video = self.container.add_stream(
            encoder, rate=source.rate, options=QUALITY.get(encoder, {})
        )
        self.video.width, self.video.height = self.size
        self.video.pix_fmt = "yuv420p"
        self.video.codec_context.time_base = source.time_base
        for name in ("colorspace", "color_primaries", "color_trc"):
            setattr(self.video.codec_context, name, BT709)
        self.sound, self.resampled = self._sound(ending) if source.sound_stream else (None, None)

    def _sound(self, ending: str) -> tuple[Any, Any]:
        """Return the stream of the sound and, if it cannot be copied, what converts it."""
        source_stream, codecs = self.source.sound_stream, FORMATS[ending][1]
        if source_stream.codec_context.name.removesuffix("float") in codecs:
            return self.container.add_stream_from_template(source_stream), None
        name = SOUND_ENCODERS.get(codecs[0], codecs[0])
        rate = 48000 if codecs[0] == "opus" else source_stream.codec_context.sample_rate
        stream = self.container.add_stream(name, rate=rate)
        stream.layout = "stereo" if source_stream.codec_context.layout.nb_channels > 1 else "mono"
        sample_format = stream.codec_context.format or self.av.AudioFormat("fltp")
        return stream, self.av.AudioResampler(sample_format, stream.layout, rate)

    def write(self, image: Image.Image, time: int) -> None:
        """Write a frame, and the sound that the source has read up to it."""
        image = image.convert("RGB")
        image = image if image.size == self.size else image.crop((0, 0, *self.size))
        frame = self.av.VideoFrame.from_image(image).reformat(
            format="yuv420p", dst_colorspace="ITU709"
        )
        frame.pts, frame.time_base = time, self.source.time_base
        self.container.mux(self.video.encode(frame))
        self._write_sound()

    def _write_sound(self) -> None:
        packets, self.source.sound[:] = list(self.source.sound), []
        for packet in packets:
            if self.resampled is None:
                packet.stream = self.sound
                self.container.mux(packet)
                continue
            for frame in packet.decode():
                for piece in self.resampled.resample(frame):
                    self.container.mux(self.sound.encode(piece))

    def finish(self) -> None:
        """Write what is left."""
        self.container.mux(self.video.encode(None))
        self._write_sound()
        if self.resampled is not None:
            for piece in self.resampled.resample(None):
                self.container.mux(self.sound.encode(piece))
            self.container.mux(self.sound.encode(None))


@contextlib.contextmanager
def film_writer(
    file: Path, encoder: str, source: Film | Images, size: tuple[int, int]
) -> Iterator[FilmWriter]:
    """Write a film that appears under its name only once it is complete.

    ValueError for a size that it cannot have.
    """
    if min(size) < 2:
        raise ValueError(
            f"OUT {file}: frames of {size[0]}x{size[1]} pixels are too small for a film, which has "
            f"2x2 at least; OUT may be a folder"
        )
    part = make_folder(file.parent, "OUT") / f"{file.name}.part"
    try:
        writer = FilmWriter(part, file.suffix.lower(), encoder, source, size)
        with contextlib.closing(writer.container):
            yield writer
            writer.finish()
        os.replace(part, file)
    except import_av().FFmpegError as error:  # those of reading are no such errors any more
        raise ValueError(f"OUT {file}: cannot be written ({reason(error)})") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
