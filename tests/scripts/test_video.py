"""Films are translated frame by frame, and keep their size, times and sound."""

import contextlib
import signal
import sys
import weakref
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from conftest import TINY
from PIL import Image
from support.drawing import a_browser, untrained
from support.films import SOUND, Found, draw_frame, turned, write_film
from support.label_folders import draw_label_folders
from support.label_maps import SPADE
from support.sites import hosted

import scripts.video
from scripts.videos import reading, writing
from translator import Translator
from util.names import natural_key

RUN = ["--name", "r", "--gpu_ids", "-1"]


@pytest.fixture
def video(command, pairs):
    """The command, with a run `r` with dropout; films are `film.mp4` or what a test makes."""
    assert command("train", *TINY, "--dataroot", pairs, "--name", "r").status == 0
    write_film(Path("film.mp4"))
    return lambda *words: command("scripts.video", *RUN, *words)


def translated(image: Image.Image) -> np.ndarray:
    """What the run makes of a frame, with the noise of a film."""
    t = Translator.load("checkpoints/r", gpu_ids=-1, preprocess="none")
    return np.asarray(next(t.each([image], name="film"))).astype(int)


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def decoded(path: str) -> list[Image.Image]:
    with av.open(path) as film:
        return [frame.to_image() for frame in film.decode(video=0)]


def test_a_film_keeps_its_size_times_and_sound(video):
    times = [0, 1, 2, 5, 6, 9]  # as of a phone, whose rate varies
    write_film(Path("film.mp4"), times=times)
    done = video("film.mp4", "out/new.mp4")
    assert done.status == 0, done.err
    film, found = Found(Path("film.mp4")), Found(Path("out/new.mp4"))
    assert (found.codec, found.size, found.sound) == ("h264", (96, 64), "aac")
    assert found.times == pytest.approx([time / 25 for time in times], abs=1e-3)
    assert found.sound_packets == film.sound_packets
    for frame, image in zip(found.frames, decoded("film.mp4"), strict=True):
        assert apart(frame, translated(image)) < 12  # H.264, with colours at half the size
    assert [path.name for path in Path("out").iterdir()] == ["new.mp4"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["new.mp4", "new.webm"])
def test_a_film_of_three_seconds_plays_in_a_browser_with_its_sound(video, name):
    write_film(Path("film.mp4"), count=75)
    done = video("film.mp4", f"site/{name}")
    assert done.status == 0, done.err
    Path("site/index.html").write_text(f'<video src="{name}" muted></video>')
    with hosted(Path("site")) as address, a_browser() as browser:
        page = browser.new_page()
        page.goto(address)
        played = page.evaluate(PLAYED)
    assert played["seconds"] == pytest.approx(3, abs=0.1)
    assert played["size"] == [96, 64] and played["at"] > 1
    assert played["sound"] > 0 and played["error"] is None


# Plays a film for 1.5 seconds; says how long it is, and how many bytes of sound were decoded.
PLAYED = """async () => {
    const film = document.querySelector("video");
    await film.play();
    await new Promise((done) => setTimeout(done, 1500));
    return {
        seconds: film.duration,
        size: [film.videoWidth, film.videoHeight],
        at: film.currentTime,
        sound: film.webkitAudioDecodedByteCount,
        error: film.error && film.error.message,
    };
}"""


def test_colours_are_those_of_the_frames(video, monkeypatch):
    """Flat colours come back from the film as they went in."""
    colours = [(250, 10, 10), (10, 240, 20), (20, 30, 245), (128, 128, 128)]
    for number, colour in enumerate(colours):
        Path("frames").mkdir(exist_ok=True)
        Image.new("RGB", (64, 64), colour).save(f"frames/{number}.png")
    monkeypatch.setattr(
        "scripts.video.Work.translated", lambda work, frames: (f.image for f in frames)
    )
    assert video("frames", "out.mp4").status == 0
    for frame, colour in zip(Found(Path("out.mp4")).frames, colours, strict=True):
        assert np.abs(frame - colour).max() <= 4


def test_a_webm_gets_a_sound_that_it_can_hold(video):
    assert video("film.mp4", "out.webm").status == 0
    found = Found(Path("out.webm"))
    assert (found.codec, found.sound, len(found.frames)) == ("vp9", "opus", 6)
    assert Found.pitch(Path("out.webm")) == pytest.approx(SOUND, abs=6)


def test_a_film_without_sound_stays_without(video):
    write_film(Path("silent.mkv"), sound=False)
    assert video("silent.mkv", "out.mkv").status == 0
    assert Found(Path("out.mkv")).sound == ""


def test_side_by_side_shows_the_input_first(video):
    assert video("film.mp4", "out.mp4", "--side_by_side").status == 0
    found = Found(Path("out.mp4"))
    assert found.size == (192, 64)
    for frame, image in zip(found.frames, decoded("film.mp4"), strict=True):
        assert apart(frame[:, :96], np.asarray(image)) < 6
        assert apart(frame[:, 96:], translated(image)) < 12


def test_a_film_that_lies_on_its_side_is_upright(video):
    turned(write_film(Path("phone.mp4"), 2))
    assert video("phone.mp4", "out").status == 0
    upright = decoded("phone.mp4")[0].rotate(-90, expand=True)
    frame = np.asarray(Image.open("out/000001.png"))
    assert frame.shape == (96, 64, 3) and np.abs(frame - translated(upright)).max() <= 1


def test_an_odd_size_loses_a_row_or_a_column(video, caplog):
    Path("frames").mkdir()
    draw_frame(0, (97, 65)).save("frames/1.png")
    assert video("frames", "out.mp4").status == 0
    assert Found(Path("out.mp4")).size == (96, 64) and "97x65: odd" in caplog.text


def test_frames_are_taken_in_the_order_of_their_names_at_their_rate(video):
    Path("frames").mkdir()
    for number in (2, 10, 1):
        draw_frame(number).save(f"frames/frame{number}.png")
    assert video("frames", "out.mp4", "--fps", "30000/1001").status == 0
    found = Found(Path("out.mp4"))
    assert found.rate == Fraction(30000, 1001)
    for frame, number in zip(found.frames, (1, 2, 10), strict=True):
        assert apart(frame, translated(draw_frame(number))) < 12


def test_a_rate_is_one_that_a_file_can_hold():
    assert scripts.video.frame_rate("30000/1001") == Fraction(30000, 1001)
    assert scripts.video.frame_rate("23.976023976") == Fraction(24000, 1001)


def test_numbers_in_the_names_of_frames_count_by_their_values():
    names = ["a10/1.png", "a2/10.png", "a2/9.png", "b1.png", "b01.png", "10.png", "9.png", "b.png"]
    assert sorted(names, key=natural_key) == [
        *("9.png", "10.png", "a2/9.png", "a2/10.png", "a10/1.png", "b01.png", "b1.png", "b.png")
    ]


@pytest.mark.parametrize(
    "flags", [["scale_width", "--load_size", 64, "--crop_size", 32], ["fixed", "--crop_size", 64]]
)
def test_a_film_keeps_its_size_whatever_the_network_gets(video, flags):
    assert video("film.mp4", "out", "--preprocess", *flags).status == 0
    t = Translator.load("checkpoints/r", *map(str, ["--preprocess", *flags]), gpu_ids=-1)
    small = next(t.each(decoded("film.mp4")[:1], name="film"))
    assert small.width == 64
    wanted = np.asarray(small.resize((96, 64), Image.Resampling.BICUBIC), int)
    assert np.abs(np.asarray(Image.open("out/000001.png"), int) - wanted).max() <= 1


@pytest.mark.parametrize(
    ("name", "how", "said"),
    [
        ("a.mp4", {"movflags": "faststart"}, "of its 100 frames are there"),
        ("f.mp4", {"movflags": "frag_keyframe+empty_moov"}, "announces frames for 4.1 s, and has"),
        ("a.mkv", {}, "announces frames for 4.0 s, and has"),
        ("a.webm", {}, "announces frames for 4.0 s, and has"),
    ],
)
def test_a_film_that_is_cut_is_said(tmp_path, caplog, name, how, said):
    path = tmp_path / name
    write_film(
        path, 100, sound=False, codec="libvpx" if path.suffix == ".webm" else "libx264", **how
    )
    assert len(list(reading.Film(path).frames())) == 100 and not caplog.records
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    assert 0 < len(list(reading.Film(path).frames())) < 100
    (warning,) = caplog.messages
    assert f"IN {path}: " in warning and said in warning and "the file is cut" in warning


@pytest.mark.parametrize("size", [(2, 2), (3, 2), (2, 5)])
@pytest.mark.parametrize("ending", [".mp4", ".webm"])
def test_the_smallest_films_are_written(tmp_path, size, ending):
    (tmp_path / "frames").mkdir()
    draw_frame(0, size).save(tmp_path / "frames/1.png")
    source, (file, encoder) = (
        reading.open_source(tmp_path / "frames", None),
        writing.chosen_file(tmp_path / f"out{ending}"),
    )
    with writing.film_writer(file, encoder, source, size) as writer:
        for frame in source.frames():
            writer.write(frame.image, frame.time)
    assert Found(file).size == (size[0] // 2 * 2, size[1] // 2 * 2)


def test_all_frames_have_one_noise(video):
    Path("still").mkdir()
    for number in range(3):
        draw_frame(0).save(f"still/{number}.png")
    assert video("still", "out").status == 0
    frames = [np.asarray(Image.open(path)) for path in sorted(Path("out").glob("*.png"))]
    assert len(frames) == 3 and all(np.array_equal(frames[0], frame) for frame in frames)


@pytest.mark.parametrize("out", [["out.mp4", "--frames", "kept"], ["kept"]])
def test_an_interrupted_command_goes_on_from_the_frames(video, monkeypatch, out):
    assert video("film.mp4", "whole").status == 0
    wanted = [np.asarray(Image.open(f"whole/{n:06d}.png")) for n in range(1, 7)]
    save, saved = Image.Image.save, []

    def save_and_stop(image: Image.Image, *args: object) -> None:
        save(image, *args)
        saved.append(image)
        if len(saved) == 2:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", save_and_stop)
        done = video("film.mp4", *out, "--batch_size", 1)
    assert done.status == 130 and "the same command goes on" in done.err
    there = sorted(Path("kept").glob("*.png"))
    assert 2 <= len(there) < 6 and not Path("out.mp4").exists()
    marks = {path: path.stat().st_mtime_ns for path in there}
    assert video("film.mp4", *out, "--batch_size", 1).status == 0
    assert all(path.stat().st_mtime_ns == mark for path, mark in marks.items())
    found = [np.asarray(Image.open(path)) for path in sorted(Path("kept").glob("*.png"))]
    assert all(apart(a, b) < 1 for a, b in zip(found, wanted, strict=True))
    if len(out) > 1:
        assert len(Found(Path("out.mp4")).frames) == 6


def test_without_frames_an_interrupted_film_is_not_there(video, monkeypatch):
    write = writing.FilmWriter.write

    def write_and_stop(*args: object) -> None:
        write(*args)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(writing.FilmWriter, "write", write_and_stop)
    done = video("film.mp4", "out.mp4", "--batch_size", 1)
    assert done.status == 130 and "no film was written" in done.err and "--frames" in done.err
    assert not [*Path().glob("out.mp4*")]


def test_frames_of_other_flags_are_not_mixed(video):
    assert video("film.mp4", "kept").status == 0
    done = video("film.mp4", "kept", "--seed", 1)
    assert done.status == 2 and "holds frames of another film, run or flags" in done.err
    before = np.asarray(Image.open("kept/000001.png"))
    assert video("film.mp4", "kept", "--seed", 1, "--overwrite").status == 0
    assert not np.array_equal(before, np.asarray(Image.open("kept/000001.png")))


def test_another_film_of_the_same_name_is_another_film(video):
    assert video("film.mp4", "kept").status == 0
    write_film(Path("film.mp4"), count=3)
    done = video("film.mp4", "kept")
    assert done.status == 2 and "holds frames of another film, run or flags" in done.err
    assert video("film.mp4", "kept", "--overwrite").status == 0
    assert len(list(Path("kept").glob("*.png"))) == 3


def test_what_a_system_adds_to_a_folder_of_frames_does_not_matter(video):
    Path("walk").mkdir()
    for number in range(2):
        draw_frame(number).save(f"walk/{number}.png")
    assert video("walk", "kept").status == 0
    Path("walk/.DS_Store").write_bytes(b"x")
    assert video("walk", "kept").status == 0
    draw_frame(5).save("walk/5.png")
    assert video("walk", "kept").status == 2


def test_frames_may_be_label_maps_of_class_numbers(command, tmp_path):
    data = draw_label_folders(tmp_path / "data", classes=4, size=64)
    run = untrained(tmp_path, data, *SPADE)
    place = ["--checkpoints_dir", tmp_path, "--name", "run", "--gpu_ids", "-1"]
    done = command("scripts.video", *place, data / "test_label", "out")
    assert done.status == 0, done.err
    first = Translator.load(run, gpu_ids=-1, preprocess="none")
    wanted = next(first.each([Image.open(data / "test_label/0.png")], name="film"))
    assert apart(np.asarray(wanted), np.asarray(Image.open("out/000001.png"))) < 1


def test_a_film_of_kept_frames_does_not_fill_the_memory(tmp_path, monkeypatch):
    made: list[weakref.ref] = []
    most = 0

    def frames(what: str):
        for number in range(20):
            image = draw_frame(number)
            made.append(weakref.ref(image))
            yield reading.Frame(image, number)

    @contextlib.contextmanager
    def film_writer(*args):
        def write(sheet: Image.Image, time: int) -> None:
            nonlocal most
            most = max(most, sum(image() is not None for image in made))

        yield SimpleNamespace(write=write)

    for number in range(1, 21):
        draw_frame(number).save(tmp_path / f"{number:06d}.png")
    work = SimpleNamespace(source=None, frames=frames, stop_if_asked=lambda advice: None)
    monkeypatch.setattr(scripts.video, "film_writer", film_writer)
    assert scripts.video.write_film(work, tmp_path / "o.mp4", "", tmp_path, False) == 20
    assert most <= 2


def test_a_run_with_targets_of_more_than_8_bits_is_refused(command, tmp_path):
    for phase in ("trainA", "trainB"):
        (tmp_path / "deep" / phase).mkdir(parents=True)
        array = np.arange(72 * 72, dtype=np.uint16).reshape(72, 72)
        Image.fromarray(array).save(tmp_path / "deep" / phase / "0.png")
    flags = ["--dataroot", tmp_path / "deep", "--name", "r", "--input_nc", 1, "--output_nc", 1]
    assert command("train", *TINY, *flags).status == 0
    write_film(Path("film.mp4"))
    done = command("scripts.video", *RUN, "film.mp4", "out.mp4")
    assert done.status == 2 and "its targets are uint16, and a film has 8 bits" in done.err


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frames", "frames"], "OUT frames: is the input"),
        (["frames", "frames/out"], "OUT frames/out: is the input, or lies in it"),
        (["frames", "out.mp4", "--frames", "frames"], "--frames frames: is the input"),
        (["film.mp4", "frames"], "OUT frames: holds other files"),
        (["film.mp4", "out.mp4", "--frames", "frames"], "--frames frames: holds other files"),
    ],
)
def test_images_of_others_are_never_touched(video, words, said, overwrite):
    Path("frames").mkdir()
    for name in ("1.png", "000001.png", "notes.txt"):
        draw_frame(0).save(f"frames/{name}", "PNG")
    before = {path: path.read_bytes() for path in Path("frames").iterdir()}
    done = video(*words, *overwrite)
    assert done.status == 2 and said in done.err
    assert {path: path.read_bytes() for path in Path("frames").iterdir()} == before


def test_a_place_that_cannot_be_written_is_named(video):
    Path("file").touch()
    done = video("film.mp4", "file/out.mp4")
    assert done.status == 2 and "OUT: file cannot be written" in done.err
    Path("out.mp4.part").mkdir()
    done = video("film.mp4", "out.mp4")
    assert done.status == 2 and "OUT out.mp4: cannot be written" in done.err


def test_stitched_pairs_are_said_to_be_whole_frames(video, pairs, caplog):
    assert video(pairs / "test", "out.mp4").status == 0
    assert "looks like A|B images" in caplog.text


def test_without_an_encoder_of_h264_a_webm_is_written(video, monkeypatch, caplog):
    monkeypatch.setattr(writing, "H264", ("none",))
    formats = writing.FORMATS | {".mp4": (("none",), ("aac",))}
    monkeypatch.setattr(writing, "FORMATS", formats)
    assert video("film.mp4", "out.mp4").status == 0
    assert "writing out.webm" in caplog.text and Found(Path("out.webm")).codec == "vp9"


def bad_files() -> None:
    """Write what is no film."""
    content = write_film(Path("whole.mp4")).read_bytes()
    Path("cut.mp4").write_bytes(content[: len(content) // 2])
    Path("text.mp4").write_text("no film")
    Path("empty.mp4").touch()
    Path("none").mkdir()
    for number, size in enumerate([(96, 64), (64, 64)]):
        Path("uneven").mkdir(exist_ok=True)
        draw_frame(0, size).save(f"uneven/{number}.png")
    Path("thin").mkdir()
    draw_frame(0, (5, 1)).save("thin/1.png")
    draw_frame(0).save("image.png")
    with av.open("sound.mkv", "w") as film:
        audio = film.add_stream("aac", rate=44100)
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        silence.sample_rate, silence.pts = 44100, 0
        film.mux(audio.encode(silence))
        film.mux(audio.encode(None))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.mp4", "out.mp4"], ["IN nothing.mp4", "no such file"]),
        (["cut.mp4", "out.mp4"], ["IN cut.mp4", "cannot be read as a film"]),
        (["text.mp4", "out.mp4"], ["IN text.mp4", "cannot be read as a film"]),
        (["empty.mp4", "out.mp4"], ["IN empty.mp4", "cannot be read as a film"]),
        (["sound.mkv", "out.mp4"], ["IN sound.mkv", "has no images"]),
        (["image.png", "out.mp4"], ["IN image.png", "scripts.translate"]),
        (["none", "out.mp4"], ["none", "no images"]),
        (["uneven", "out.mp4"], ["uneven/1.png", "64x64", "96x64", "one size"]),
        (["film.mp4", "out.avi"], ["OUT out.avi: no film is written as .avi; use .mp4, .mov"]),
        (["film.mp4", "film.mp4"], ["OUT film.mp4", "is the input"]),
        (["film.mp4", "whole.mp4"], ["OUT whole.mp4", "exists", "--overwrite"]),
        (["film.mp4", "out", "--frames", "more"], ["--frames more", "OUT out"]),
        (["film.mp4", "out.mp4", "--fps", "25"], ["--fps", "folder of frames"]),
        (["none", "out.mp4", "--fps", "0"], ["--fps", "'0'", "30000/1001"]),
        (["film.mp4", "out.mp4", "--preprocess", "crop"], ["--preprocess crop", "scale_width"]),
        (["thin", "out.mp4"], ["OUT out.mp4", "5x1 pixels are too small", "2x2"]),
        (["film.mp4", "out.mp4", "--num_variants", "3"], ["--num_variants: is for test.py"]),
        (["film.mp4", "out.mp4", "--on_bad_image=skip"], ["--on_bad_image: is for test.py"]),
        (["film.mp4"], ["IN OUT", "film.mp4"]),
        (["film.mp4", "out.mp4", "--side_by"], ["--side_by", "--side_by_side"]),
    ],
)
def test_what_cannot_be_translated_is_said_in_a_line(video, words, said):
    bad_files()
    done = video(*words)
    assert done.status == 2 and len(done.err.splitlines()) == 1, done.err
    assert [word for word in said if word not in done.err] == []
    assert not Path("out.mp4").exists()


def test_a_frame_that_cannot_be_decoded_is_named(video, monkeypatch):
    film = reading.Film(Path("film.mp4"))
    monkeypatch.setattr(film, "_open", lambda: None)

    class Container:
        def demux(self, streams: object) -> object:
            raise av.InvalidDataError(1, "Invalid data found")

        def close(self) -> None:
            pass

    film.container.close()
    film.container = Container()
    with pytest.raises(ValueError, match="IN film.mp4: frame 1 cannot be decoded"):
        next(film.frames())


def test_without_the_package_it_is_named(video, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    done = video("film.mp4", "out.mp4")
    assert done.status == 2 and "pip install av" in done.err
