"""The free memory is that of the machine, of the container, or of the job, whichever is least."""

import shutil
from pathlib import Path

import pytest
from support.peaks import linux_only, measured_peak, peak_in_a_process

from util.memory import free_memory

NO_LIMIT = {"max": "max\n", "limit_in_bytes": "9223372036854771712\n"}  # as the kernel writes it


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with 60% of its memory free."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1000 kB\nMemAvailable: 600 kB\n")
    return tmp_path


def write_v2(group: Path, limit: str, used: int, cache: int = 50) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"anon 1\ninactive_file {cache}\n")


def write_v1(group: Path, limit: str, used: int, cache: int = 50) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (group / "memory.usage_in_bytes").write_text(f"{used}\n")
    # Without the groups below; with them.
    (group / "memory.stat").write_text(f"inactive_file 0\ntotal_inactive_file {cache}\n")


def test_without_cgroups_it_is_that_of_the_machine(root: Path, tmp_path: Path) -> None:
    assert free_memory(root) == 0.6
    assert free_memory(root / "proc") == 0  # unknown
    assert 0 <= free_memory() <= 1


@pytest.mark.parametrize(
    ("write", "folder"),
    [(write_v2, ""), (write_v1, "memory"), (write_v2, "unified")],
    ids=["v2", "v1", "hybrid"],
)
@pytest.mark.parametrize(
    ("lines", "group"),
    [
        ("", ""),
        ("0::/\n4:memory:/\n", ""),
        ("0::/docker/abc\n4:memory:/docker/abc\n", ""),  # seen from outside of the container
        ("0::/slurm/job_1/step_0\n5:cpu,memory:/slurm/job_1/step_0\n", "slurm/job_1"),
        ("0::/user.slice/a:b\n5:memory:/user.slice/a:b\n", "user.slice/a:b"),
    ],
    ids=["unsaid", "root", "container", "job", "slice"],
)
def test_a_limit_counts(root: Path, write, folder: str, lines: str, group: str) -> None:
    (root / "proc/self/cgroup").write_text(lines)
    place = root / "sys/fs/cgroup" / folder / group
    write(place, "200", 150)
    assert free_memory(root) == 0.5
    write(place, "200", 300)
    assert free_memory(root) == 0
    write(place, NO_LIMIT["limit_in_bytes" if write is write_v1 else "max"].strip(), 150)
    assert free_memory(root) == 0.6
    shutil.rmtree(place)
    assert free_memory(root) == 0.6


def test_the_tightest_of_several_limits_counts(root: Path) -> None:
    (root / "proc/self/cgroup").write_text("0::/a/b\n")
    group = root / "sys/fs/cgroup"
    write_v2(group / "a", "400", 150)
    write_v2(group / "a/b", "1000", 150)
    assert free_memory(root) == 0.6
    write_v2(group / "a", "200", 150)
    assert free_memory(root) == 0.5
    write_v2(group / "a/b", "125", 150)
    assert free_memory(root) == pytest.approx(0.2)


def test_a_damaged_file_is_no_limit(root: Path) -> None:
    group = root / "sys/fs/cgroup/memory"
    write_v1(group, "0", 5)
    assert free_memory(root) == 0.6
    write_v1(group, "x", 5)
    assert free_memory(root) == 0.6
    (root / "proc/self/cgroup").write_text("nonsense\n")
    write_v1(group, "200", 150)
    assert free_memory(root) == 0.5


@linux_only
def test_the_peak_is_that_of_this_process_alone() -> None:
    with measured_peak() as peak:
        held = bytearray(1 << 30)
    # less where the system takes back pages of libraries in the meantime, which count as held
    assert 0.5 * len(held) < peak.grown < 1.1 * len(held)
    alone = "import torch; from support.peaks import CPU, peak_memory; print(peak_memory(CPU))"
    assert peak_in_a_process(alone) < 0.8  # not the GiB of the process that started it
