"""Small films, as a camera makes them, and what is in a film."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

SOUND = 440  # Hz
RATE = 44100


def draw_frame(number: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Draw a frame in which a square moves, if there is room for one."""
    if size[0] < 32:
        return Image.new("RGB", size, (0, 85, 255))
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[..., 2] = 170
    left = 8 * number % (size[0] - 24)
    pixels[20:44, left : left + 24] = (0, 85, 255)
    return Image.fromarray(pixels)


def write_film(
    path: Path,
    count: int = 6,
    *,
    size: tuple[int, int] = (96, 64),
    times: Any = None,
    sound: bool = True,
    codec: str = "libx264",
    **options: str,
) -> Path:
    """Write a film of 25 frames a second, and AAC; `times` are those of its frames, `options` of
    its file.
    """
    film = av.open(str(path), "w", options=options)
    video = film.add_stream(codec, rate=25, options={"crf": "4", "b": "1M"})
    video.width, video.height, video.pix_fmt = *size, "yuv420p"
    audio = film.add_stream("aac", rate=RATE) if sound else None
    if audio:
        audio.layout = "stereo"
    for number in range(count):
        frame = av.VideoFrame.from_image(draw_frame(number, size))
        frame.pts, frame.time_base = (times or range(count))[number], Fraction(1, 25)
        film.mux(video.encode(frame))
        if audio:
            many = RATE // 25
            at = np.arange(many) + number * many
            wave = (np.sin(2 * np.pi * SOUND * at / RATE) / 3).astype(np.float32)
            piece = av.AudioFrame.from_ndarray(np.stack([wave, wave]), "fltp", "stereo")
            piece.sample_rate, piece.pts = RATE, int(at[0])
            piece.time_base = Fraction(1, RATE)
            film.mux(audio.encode(piece))
    for stream in film.streams:
        film.mux(stream.encode(None))
    film.close()
    return path


def turned(path: Path) -> Path:
    """Say in a film of MP4 that it is to be shown turned by 90 degrees clockwise."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44
    numbers = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    content[matrix : matrix + 36] = b"".join(n.to_bytes(4, "big", signed=True) for n in numbers)
    path.write_bytes(content)
    return path


class Found:
    """What a film holds: `frames` as arrays, their `times` in seconds, streams, the sound."""

    def __init__(self, path: Path):
        with av.open(str(path)) as film:
            video = film.streams.video[0]
            self.codec, self.size = video.codec_context.name, (video.width, video.height)
            self.rate = video.average_rate
            self.sound = next((s.codec_context.name for s in film.streams.audio), "")
            decoded = [*film.decode(video=0)]
            self.frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in decoded]
            self.times = [frame.time for frame in decoded]
        with av.open(str(path)) as film:
            packets = film.demux(audio=0) if self.sound else ()
            self.sound_packets = [bytes(packet) for packet in packets if packet.size]

    @staticmethod
    def pitch(path: Path) -> float:
        """Return the loudest frequency of a film's sound, in Hz."""
        with av.open(str(path)) as film:
            rate = film.streams.audio[0].rate
            wave = np.concatenate([frame.to_ndarray()[0] for frame in film.decode(audio=0)])
        return float(np.abs(np.fft.rfft(wave)).argmax() * rate / len(wave))
