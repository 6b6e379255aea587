"""scripts/drawing/server.py: what it answers, and what it refuses."""

import io
import socket
import struct
import sys
import tempfile
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
from conftest import draw, near
from PIL import Image
from support.drawing import COLOURS, array, draw_labels, png, post, served, untrained
from support.peaks import measured_peak

from scripts.drawing import guard, server
from translator import Translator


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory):
    """A server for a run from label maps, its address and its folder."""
    root = tmp_path_factory.mktemp("page")
    run = untrained(root, draw_labels(root / "labels"))
    with served(run) as address:
        yield SimpleNamespace(address=address, run=run, root=root)


@pytest.mark.parametrize(("alpha", "grey"), [("white", 255), ("black", 0)])
def test_transparent_images_are_put_on_the_colour_of_the_run(tmp_path, alpha: str, grey: int):
    run = untrained(tmp_path, draw_labels(tmp_path / "labels"), "--alpha", alpha)
    image = draw((64, 64))
    image.putalpha(Image.linear_gradient("L").resize((64, 64)))
    background = Image.new("RGBA", (64, 64), (grey, grey, grey, 255))
    with served(run) as address:
        site = SimpleNamespace(address=address)
        for what in ("open", "translate"):
            shown = array(post(site, what, png(image)))
            on_colour = array(post(site, what, png(Image.alpha_composite(background, image))))
            assert np.array_equal(shown, on_colour)


def refused(answer: requests.Response, status: int, *words: str) -> None:
    """Expect an error of one line."""
    assert answer.status_code == status, answer.text
    why = answer.json()["error"]
    assert "\n" not in why and all(word in why for word in words), why


def still_works(page: SimpleNamespace) -> bool:
    return array(post(page, "translate", png(draw((64, 64))))).shape == (64, 64, 3)


def huge_png(width: int, height: int) -> bytes:
    """Return a PNG file that says it is so large."""
    small = png(draw((8, 8)))
    header = b"IHDR" + struct.pack(">II", width, height) + small[24:29]
    return small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]


# Answers --------------------------------------------------------------------------------


def test_the_page_is_told_the_palette_and_the_examples(page):
    about = requests.get(f"{page.address}about", timeout=9).json()
    assert about["kind"] == "labels" and about["examples"] == 3 and about["noise"]
    found = [[int(code[i : i + 2], 16) for i in (1, 3, 5)] for code, _ in about["colours"]]
    assert sorted(found) == sorted(map(list, COLOURS)) and about["size"] == [64, 64]
    assert about["paper"] == about["colours"][0][0] == "#0030ff"


def test_an_example_is_the_input_of_the_test_split(page):
    for number in range(3):
        answer = requests.get(f"{page.address}example/{number}", timeout=9)
        pair = np.asarray(Image.open(page.root / "labels/test" / f"{number}.png"))
        assert np.array_equal(array(answer), pair[:, :64])
    refused(requests.get(f"{page.address}example/3", timeout=9), 404, "3 examples")


def test_the_answer_is_the_translators_and_the_seed_is_the_noise(page):
    image, t = draw((64, 64), 5), Translator.load(page.run, gpu_ids=-1)
    answers = [post(page, f"translate?seed={seed}", png(image)) for seed in (0, 0, 7)]
    assert answers[0].content == answers[1].content != answers[2].content
    assert near({"": array(answers[2])}, {"": np.asarray(t(image, seed=7))})


def test_a_photo_of_another_size_and_turned_is_prepared_as_for_test_py(page):
    photo = draw((300, 200), 4)
    exif = photo.getexif()
    exif[0x0112] = 6
    file = io.BytesIO()
    photo.save(file, "JPEG", exif=exif)
    opened = array(post(page, "open", file.getvalue()))
    t = Translator.load(page.run, gpu_ids=-1)
    wanted = (t.prepare(Image.open(file)).permute(1, 2, 0).numpy() + 1) * 127.5
    assert opened.shape == (64, 64, 3) and np.abs(opened - wanted).max() <= 1


def test_nothing_comes_from_elsewhere_and_nothing_is_kept(page):
    answer = requests.get(page.address, timeout=9)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    for path in Path(server.PAGE).iterdir():
        assert "//" not in path.read_text().replace("// ", ""), path
        url = "" if path.name == "index.html" else f"page/{path.name}"
        assert requests.get(page.address + url, timeout=9).content == path.read_bytes()


def test_nothing_is_written(page):
    def files() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in page.root.rglob("*")}

    before = files()
    for what in ("translate", "open"):
        array(post(page, what, png(draw((90, 70)))))
    assert files() == before


# Refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["open", "translate"])
@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "empty"),
        (b"a shopping list\n" * 40, 415, "not an image (PNG, JPEG"),
        (b'{"a": [' + b"1," * 5_000_000 + b"1]}", 415, "not an image"),
        (png(draw((64, 64)))[:2000], 422, "damaged"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 300, 415, "not an image"),
        (huge_png(10_000, 10_000), 413, "10000x10000 pixels"),
        (huge_png(60_000, 30_000), 413, "pixels"),
        (b"\0" * (server.MOST_BYTES + 1), 413, "larger than 16 MB"),
        (png(Image.new("I;16", (8, 8))), 415, "8 bits"),
    ],
    ids=["empty", "text", "json", "cut", "header", "100 MP", "1.8 GP", "16 MB", "16 bit"],
)
def test_bad_bytes_get_a_reason(page, what, body, status, words):
    refused(post(page, what, body), status, *([words] if isinstance(words, str) else words))
    assert still_works(page)


def test_a_body_without_a_length_is_counted_as_it_comes(page):
    parts = (b"\0" * 2**20 for _ in range(40))
    refused(requests.post(f"{page.address}open", data=parts, timeout=60), 413, "16 MB")


def test_parts_are_refused_by_a_run_that_takes_none(page):
    answer = post(page, "translate?parts=mask", png(draw((64, 128))))
    assert answer.status_code == 400
    assert answer.json()["error"] == "parts=mask: this run takes no parts"


@pytest.mark.parametrize("seed", ["-1", "x", "1.5", str(2**63), "9" * 5000])
def test_a_seed_is_a_whole_number(page, seed):
    refused(post(page, f"translate?seed={seed}", png(draw((64, 64)))), 400, "seed")


def test_a_image_too_large_for_the_network_is_refused(page, tmp_path):
    run = untrained(tmp_path, page.root / "labels", "--preprocess", "none")
    with served(run) as address:
        photo = png(Image.new("L", (3000, 2000)))
        answer = requests.post(f"{address}translate", data=photo, timeout=60)
        refused(answer, 413, "3000x2000", "test.py")


def encoded(size: tuple[int, int], kind: str, **how) -> bytes:
    file = io.BytesIO()
    Image.new("P" if kind == "GIF" else "RGB", size).save(file, kind, **how)
    return file.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


# Shapes that become huge when they are resized: of few bytes, and of few pixels.
SHAPES = {
    "png": encoded((1, 60_000), "PNG"),
    "gif": encoded((1, 60_000), "GIF"),
    "tiff": encoded((2, 60_000), "TIFF", compression="tiff_deflate"),
    "bmp": encoded((1, 30_000), "BMP"),
    "ppm": encoded((3, 60_000), "PPM"),
    "jpeg": encoded((1, 60_000), "JPEG"),
    "webp": encoded((1, 16_000), "WEBP", lossless=True),
    "turned jpeg": encoded((60_000, 1), "JPEG", exif=turned()),
    "turned tiff": encoded((60_000, 1), "TIFF", exif=turned()),
    "turned png": encoded((60_000, 1), "PNG", exif=turned()),
}
WIDTHS = ["scale_width", "scale_width_and_crop"]


@pytest.fixture(scope="module", params=WIDTHS)
def by_width(request, page, tmp_path_factory):
    """The address of a server whose network's inputs are scaled to a width."""
    root = tmp_path_factory.mktemp(request.param)
    flags = ["--preprocess", request.param]
    run = untrained(root, page.root / "labels", *flags)
    with served(run, "--load_size", "256", "--crop_size", "256") as address:
        yield SimpleNamespace(address=address)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_that_becomes_too_large_is_refused_before_it_is_decoded(
    by_width, monkeypatch, shape
):
    for name in ("resize", "load", "convert"):
        monkeypatch.setattr(Image.Image, name, lambda *_, **__: pytest.fail("decoded"))
    before = time.process_time()
    with measured_peak() as peak:
        refused(post(by_width, "open", SHAPES[shape]), 413, "pixels", "become 256x", "test.py")
    assert time.process_time() - before < 1
    assert peak.grown < 100 * 2**20


def test_a_png_whose_orientation_comes_last_is_refused_before_it_is_resized(by_width, monkeypatch):
    body = encoded((60_000, 1), "PNG", exif=turned())
    start = body.index(b"eXIf") - 4
    end = start + 12 + struct.unpack(">I", body[start : start + 4])[0]
    late = body[:start] + body[end:-12] + body[start:end] + body[-12:]
    monkeypatch.setattr(Image.Image, "resize", lambda *_, **__: pytest.fail("resized"))
    refused(post(by_width, "open", late), 413, "1x60000 pixels become 256x")


def test_wide_and_common_shapes_are_still_taken(by_width):
    for size in ((6_000, 1), (300, 200), (200, 900)):
        answer = post(by_width, "open", encoded(size, "PNG"))
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_request_to_another_name_is_refused(page, host):
    answer = requests.get(page.address, headers={"Host": host}, timeout=9)
    assert answer.status_code == 400 and "host" in answer.text.lower()


def test_another_sites_page_cannot_send_images(page):
    body, own = png(draw((64, 64))), page.address.rstrip("/")
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "https://" + own[7:] + "0"):
        answer = post(page, "translate", body, headers={"Origin": origin})
        refused(answer, 403, "page of this server")
    assert post(page, "translate", body, headers={"Origin": own}).status_code == 200


def test_files_beside_the_page_are_not_served(page):
    host = urlsplit(page.address).netloc
    for path in ("/page/../draw.py", "/page/%2e%2e/draw.py", "/page//etc/passwd"):
        with socket.create_connection(host.split(":")) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert b" 404 " in connection.recv(4096).splitlines()[0], path


# Forms ----------------------------------------------------------------------------------

PNG = png(draw((64, 64), 5))
PART = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}


def post_form(page: SimpleNamespace, what: str, *files: bytes, **fields: str) -> requests.Response:
    named = [("image", (f"{n}.png", file)) for n, file in enumerate(files)]
    return requests.post(f"{page.address}{what}", data=fields, files=named, timeout=60)


@pytest.mark.parametrize("what", ["open", "translate?seed=7"])
@pytest.mark.parametrize("size", [(64, 64), (1500, 1000)], ids=["small", "4 MB"])
def test_a_form_with_a_file_is_answered_like_the_bare_file(page, monkeypatch, what, size):
    monkeypatch.setattr(
        tempfile.SpooledTemporaryFile, "rollover", lambda *_: pytest.fail("written to the disk")
    )
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    body = png(Image.fromarray(noise))
    answer = post_form(page, what, body)
    assert answer.status_code == 200, answer.text
    assert answer.content == post(page, what, body).content


@pytest.mark.parametrize(
    ("body", "headers", "word"),
    [
        (b"--x--\r\n", MULTIPART, "it has none"),
        (PART.replace(b'; filename="a.png"', b"") + b"a.png\r\n--x--\r\n", MULTIPART, "fields"),
        (PART + PNG + b"\r\n" + PART + PNG + b"\r\n--x--\r\n", MULTIPART, "Too many files"),
        (PART + PNG + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data"}, "boundary"),
        (PNG, MULTIPART, "Invalid"),
    ],
    ids=["no file", "a field", "two files", "no boundary", "no form"],
)
def test_a_form_that_is_not_one_file_gets_a_reason(page, body, headers, word):
    refused(post(page, "translate", body, headers=headers), 400, "image=@sketch.png", word)
    assert still_works(page)


def test_a_file_in_a_form_has_the_limits_of_a_bare_one(page):
    refused(post_form(page, "open", b"\0" * server.MOST_BYTES), 413, "larger than 16 MB")
    refused(post_form(page, "open", huge_png(10_000, 10_000)), 413, "10000x10000 pixels")
    refused(post_form(page, "open", b"a shopping list"), 415, "not an image")
    refused(post_form(page, "open", b""), 400, "empty")
    refused(post_form(page, "open", PNG[:2000]), 422, "damaged")
    refused(post_form(page, "translate?seed=x", PNG), 400, "seed")
    assert still_works(page)


def test_without_the_library_for_forms_the_bare_file_still_works(page, monkeypatch):
    monkeypatch.setitem(sys.modules, "python_multipart", None)
    refused(post_form(page, "translate", PNG), 501, "pip install python-multipart")
    assert still_works(page)


# Many at once ---------------------------------------------------------------------------


def test_fifty_at_once_are_answered_or_turned_away(page):
    photo = png(draw((1500, 1500)))
    with measured_peak() as peak, ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: post(page, "translate", photo), range(50)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {200, 503} and statuses.count(200) >= 1
    assert len({answer.content for answer in answers if answer.status_code == 200}) == 1
    assert peak.grown < 500 * 2**20  # all fifty decoded at once would be 340 MB, and their work
    assert still_works(page)


def test_one_turn_after_the_other_and_no_more_than_may_wait(page, monkeypatch):
    monkeypatch.setattr(guard, "MOST_WAITING", 3)
    translated, busy = server.Studio.translated, []

    def slowly(studio, *given):
        busy.append(1)
        assert len(busy) == 1, "two translations at once"
        time.sleep(0.3)
        busy.pop()
        return translated(studio, *given)

    monkeypatch.setattr(server.Studio, "translated", slowly)
    body = png(draw((64, 64)))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(page, "translate", body), range(8)))
    codes = [answer.status_code for answer in answers]
    assert codes.count(200) == 3 and codes.count(503) == 5
    refused(next(a for a in answers if a.status_code == 503), 503, "too many")


def test_who_does_not_get_a_turn_or_does_not_send_is_told(page, monkeypatch):
    monkeypatch.setattr(server, "MOST_SECONDS", 0.4)
    host = urlsplit(page.address).netloc
    with socket.create_connection(host.split(":")) as connection:
        head = f"POST /open HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100\r\n\r\nabc"
        connection.sendall(head.encode())
        assert b" 408 " in connection.recv(4096).splitlines()[0]
    monkeypatch.setattr(server.Studio, "translated", lambda *_: time.sleep(1))
    body = png(draw((64, 64)))
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: post(page, "translate", body), range(2)))
    assert 503 in [answer.status_code for answer in answers]
    monkeypatch.undo()
    assert still_works(page)


def test_a_failure_in_the_network_is_said_without_an_end(page, monkeypatch, caplog):
    def fails(studio, *given):
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(server.Studio, "translated", fails)
    refused(post(page, "translate", png(draw((64, 64)))), 500, "failed")
    assert "out of memory" in caplog.messages
    monkeypatch.undo()
    assert still_works(page)
