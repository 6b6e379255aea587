"""Read the frames of a film, or of a folder of images."""

import contextlib
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from data.files.image_files import image_size, load_image_or_array
from data.files.image_types import HighDepthImage
from data.image_folder import is_image_file, make_dataset
from util.names import natural_key

log = logging.getLogger(__name__)


CUT = 0.5  # seconds by which frames may end before the time that the file announces


class Frame(NamedTuple):
    """An image, and when it is shown: `time` in units of the film's `time_base`."""

    image: Image.Image
    time: int


class Film:
    """A file that PyAV decodes.

    While `frames` runs, the packets of its sound that lie before the last frame are put into
    `sound`.
    """

    def __init__(self, path: Path):
        """ValueError if the file has no images that can be read."""
        self.path, self.error = path, import_av().FFmpegError
        self._open()
        video = self.video
        self.size = video.width, video.height  # pixels, perhaps of an image that lies on its side
        self.time_base: Fraction = video.time_base
        self.rate: Fraction = video.average_rate or video.guessed_rate or Fraction(25)
        self.count: int | None = video.frames or None  # as the file says
        self.announced = announced_end(self.container, video)

    def _open(self) -> None:
        try:
            self.container = import_av().open(str(self.path))
        except (self.error, OSError) as error:
            why = reason(error)
            raise ValueError(f"IN {self.path}: cannot be read as a film ({why})") from None
        if not self.container.streams.video:
            self.container.close()
            raise ValueError(f"IN {self.path}: has no images")
        self.video = self.container.streams.video[0]
        self.video.thread_type = "AUTO"
        self.sound_stream = next(iter(self.container.streams.audio), None)
        self.sound: list[Any] = []

    def frames(self) -> Iterator[Frame]:
        """Yield all frames upright, in the order in which they are shown, from the first on.

        ValueError if one cannot be decoded, or there is none.
        """
        self.container.close()
        self._open()
        streams = [self.video, *([self.sound_stream] if self.sound_stream else [])]
        count = last = 0
        failure: ValueError | None = None  # of the last frame, perhaps: its file is cut there
        try:
            for packet in self.container.demux(streams):
                if packet.stream is self.sound_stream:
                    if packet.dts is not None:  # else it is the empty one at the end
                        self.sound.append(packet)
                    continue
                if failure and packet.size:
                    raise failure
                try:
                    decoded = packet.decode()
                except self.error as error:
                    failure, decoded = self._undecoded(count + 1, error), []
                for frame in decoded:
                    image = frame.to_image()
                    if frame.rotation:
                        image = image.rotate(frame.rotation, expand=True)
                    last = last + 1 if frame.pts is None else frame.pts
                    count += 1
                    yield Frame(image, last)
        except self.error as error:
            raise self._undecoded(count + 1, error) from None
        if not count:
            raise failure or ValueError(f"IN {self.path}: has no frames")
        cut = self._warn_if_cut(count, float(last * self.time_base + 1 / self.rate))
        if failure and not cut:
            raise failure

    def _undecoded(self, number: int, error: Exception) -> ValueError:
        return ValueError(f"IN {self.path}: frame {number} cannot be decoded ({reason(error)})")

    def _warn_if_cut(self, count: int, end: float) -> bool:
        """Warn if fewer frames came than the file announces, and return whether it is so; `end` is
        that of the last, in s.
        """
        cut = "the file is cut, and the film ends where the last one does"
        if self.count and count < self.count:
            log.warning(
                "IN %s: %d of its %d frames are there; %s", *(self.path, count, self.count), cut
            )
        elif not self.count and self.announced and end < self.announced - CUT:
            log.warning(
                "IN %s: announces frames for %.1f s, and has them for %.1f s; %s",
                *(self.path, self.announced, end, cut),
            )
        else:
            return False
        return True

    def close(self) -> None:
        """Close the file."""
        self.container.close()


class Images:
    """The images of a folder, in the natural order of their names; all of one size."""

    sound_stream = None

    def __init__(self, path: Path, rate: Fraction):
        """ValueError if the folder has no images, or one has another size than the first."""
        self.files = sorted(make_dataset(path, flag="IN"), key=natural_key)
        self.read = load_image_or_array  # `load_unconverted` for label maps
        self.rate, self.time_base = rate, 1 / rate
        self.count, self.sound = len(self.files), []
        sizes = {file: image_size(file) for file in self.files}
        first = self.files[0]
        self.size = sizes[first]
        for file, size in sizes.items():
            if size != sizes[first]:
                raise ValueError(
                    f"IN {file}: has {size[0]}x{size[1]} pixels and {first} {sizes[first][0]}x"
                    f"{sizes[first][1]}; the frames of a film have one size"
                )

    def frames(self) -> Iterator[Frame]:
        """Yield all images; ValueError names one that cannot be read, or has more than 8 bits."""
        for number, file in enumerate(self.files):
            image = self.read(file)
            if isinstance(image, HighDepthImage):
                raise ValueError(f"IN {file}: has more than 8 bits a channel; films have 8")
            yield Frame(image, number)

    def close(self) -> None:
        """Nothing is open."""


def open_source(path: Path, rate: Fraction | None) -> Film | Images:
    """Open a film, or a folder of frames of which `rate` (default: 25) are shown in a second.

    ValueError if it cannot be read.
    """
    if not path.exists():
        raise ValueError(f"IN {path}: no such file or folder")
    if path.is_dir():
        return Images(path, rate or Fraction(25))
    if is_image_file(path.name) and path.suffix.lower() != ".gif":
        raise ValueError(f"IN {path}: is an image; python -m scripts.translate translates it")
    if rate:
        raise ValueError("--fps: is for a folder of frames; a film keeps its own rate")
    return Film(path)


def announced_end(container: Any, video: Any) -> float | None:
    """Return when the images of a film end, in seconds, as its header says; None if it does not."""
    start = (container.start_time or 0) / 1e6
    if video.duration:
        return start + float(video.duration * video.time_base)
    with contextlib.suppress(KeyError, ValueError):  # of Matroska: 00:00:04.000000000
        hours, minutes, seconds = video.metadata["DURATION"].split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    if container.duration and not container.streams.audio:
        return start + container.duration / 1e6
    return None


def import_av() -> Any:
    """Return the package av; ValueError if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise ValueError(f"{error}: scripts.video needs `pip install av`") from None
    return av


def reason(error: Exception) -> str:
    """Return what FFmpeg says, without the file's name."""
    return getattr(error, "strerror", None) or str(error)
