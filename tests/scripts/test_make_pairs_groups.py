"""make_pairs and the doctor keep what belongs together in one phase."""

from pathlib import Path

import pytest
from conftest import draw, refusal
from support.preparing import draw_folder, phases, prepare

from scripts import doctor, make_pairs
from util.errors import RunStopped

NAMES = " ".join(f"{patient}_{n}" for patient in "abcdefghij" for n in range(3))
GROUP = ("--group", r"(\w)_\d")


def of_patients(out: Path) -> dict[str, set[str]]:
    """Return the phases of each patient."""
    found: dict[str, set[str]] = {}
    for name, phase in phases(out).items():
        found.setdefault(name[0], set()).add(phase)
    return found


def test_images_of_a_group_are_in_one_phase(tmp_path: Path) -> None:
    source = draw_folder(tmp_path / "in", NAMES, (16, 16))
    found = of_patients(prepare("resize", source, tmp_path / "out", "--size", 16, *GROUP))
    assert all(len(of) == 1 for of in found.values()) and len(found) == 10
    counts = [sum(of == {phase} for of in found.values()) for phase in ("train", "val", "test")]
    assert counts == [8, 1, 1]
    split = of_patients(prepare("resize", source, tmp_path / "without", "--size", 16))
    assert any(len(of) > 1 for of in split.values())


def test_further_images_of_a_group_follow_the_first_ones(tmp_path: Path) -> None:
    source = draw_folder(tmp_path / "in", "a_1 b_1 c_1 d_1 e_1", (16, 16))
    before = of_patients(prepare("resize", source, tmp_path / "out", "--size", 16, *GROUP))
    draw_folder(source, NAMES, (16, 16))
    after = of_patients(prepare("resize", source, tmp_path / "out", "--size", 16, *GROUP))
    assert all(len(of) == 1 for of in after.values()) and len(after) == 10
    assert all(after[patient] == of for patient, of in before.items())


def test_a_split_that_divides_a_group_is_refused(tmp_path: Path) -> None:
    source = draw_folder(tmp_path / "in", "train/a_1 train/b_1 test/a_2", (16, 16))
    words = ["--task", "resize", "--size", "16", f"{source}", f"{tmp_path / 'out'}", *GROUP]
    refusal(lambda: make_pairs.main(words), "--group", "a has images in train and test")
    of_names = [*words[:-1], r"^(\w)_\d"]  # without the folder of the phase, as the doctor
    refusal(lambda: make_pairs.main(of_names), "--group", "a has images in train and test")
    refusal(lambda: make_pairs.main([*words[:-1], "["]), "--group [: is no regular expression")
    refusal(lambda: make_pairs.main([*words[:-1], "xyz"]), "--group xyz: finds nothing in")


def test_the_doctor_names_groups_of_images_in_several_phases(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("train/a_1", "train/b_1", "test/a_2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        draw((32, 16)).save(tmp_path / f"{name}.png")
    with pytest.raises(RunStopped, match="a in train and test; give each to one phase"):
        doctor.main(["--dataroot", str(tmp_path), "--num_threads", "1", *GROUP])
    assert "has groups in several phases" in caplog.text and "a in train and test" in caplog.text
    assert "b in" not in caplog.text
