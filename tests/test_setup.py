"""The project's set-up: dependencies, the README's commands, what a start imports."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from conftest import draw, draw_pairs, small
from PIL import Image

from options.config_files import BUILTIN_PRESET, PRESETS, read_yaml
from options.train_options import TrainOptions

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip() and not line.startswith("#")
]


def marked(name: str) -> str:
    block = README.split(f"<!-- newcomer: {name} -->")[1]
    return re.findall(r"```bash\n(.*?)```", block, re.DOTALL)[0]


def test_pip_and_conda_install_the_core_of_pyproject() -> None:
    (block,) = re.findall(r"^dependencies = \[(.*?)^\]", PYPROJECT, re.DOTALL | re.MULTILINE)
    core = re.findall(r'"(.+?)"', block)
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert core and [line for line in lines if line and line[0] != "#"] == core
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert conda[-1] == {"pip": core} and re.fullmatch(r"python=3\.\d+", conda[0])


def test_the_citation_names_the_software_of_pyproject() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    for name in ("version", "license"):
        assert f'{name} = "{cited[name]}"' in PYPROJECT
    assert f'name = "{cited["title"]}"' in PYPROJECT and cited["abstract"] in PYPROJECT
    (author,) = cited["authors"]
    assert author["name"] in (ROOT / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["run", "test"])
def test_newcomer_commands_take_one_line(name: str) -> None:
    assert len(marked(name).splitlines()) == 1


def test_newcomer_runs_both_commands_without_flags() -> None:
    assert marked("run").strip() == "pip install uv && uv run train.py && uv run test.py"


def test_ci_runs_style_the_readme_test_command_and_the_slow_tests() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    for part in (
        "ruff check",
        "ruff format --check",
        "readme_command test",
        "pytest -m slow",
        "chromium",
    ):
        assert part in script


def test_preset_has_no_switches_that_flags_could_not_undo() -> None:
    values = set(read_yaml(BUILTIN_PRESET).values())
    assert values and not values & {"true", "false", "yes", "no", "on", "off"}


@pytest.mark.slow
def test_readme_commands_run_in_their_order(
    command: Callable[..., SimpleNamespace], served: list[str]
) -> None:
    draw_pairs(Path("datasets/facades"), count=1)
    for folder in ("sketches", "photos/train", "photos/test"):
        (Path("datasets") / folder).mkdir(parents=True)
        draw((70, 50)).save(f"datasets/{folder}/a.png")
    shutil.copytree(PRESETS, "options/presets")
    builtin = Path("options/presets/builtin.yaml")
    builtin.write_text(builtin.read_text().replace("builtin_facades", "facades"))
    lines = [line for line in COMMANDS if line.startswith("python ")]
    assert len(lines) >= 10
    for line in lines:
        name, flags = small(line)
        if "pretrained" in line:
            published = Path("checkpoints/facades_label2photo_pretrained")
            published.mkdir()
            weights = Path("checkpoints/facades/latest_net_G.pth").read_bytes()
            (published / "latest_net_G.pth").write_bytes(weights)
            flags += ["--crop_size", "64"]
        result = command(name, *flags)
        assert result.status == 0, f"{line}\n{result.err}"
    assert served == ["127.0.0.1"]
    assert Path("checkpoints/facades/latest_net_G.onnx").is_file()


def test_readme_has_no_command_that_nothing_runs() -> None:
    others = [line for line in COMMANDS if not line.startswith("python ")]
    several = [line for line in others if line.startswith("torchrun ")]  # test_two_processes_resume
    assert len(several) == 1
    assert others == [marked("run").strip(), marked("test").strip(), *several]


def test_readme_python_runs(command: Callable[..., SimpleNamespace]) -> None:
    draw_pairs(Path("datasets/facades"), count=1)
    _, flags = small("python train.py --dataroot ./datasets/facades --name facades")
    assert command("train", *flags).status == 0
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    draw((70, 50)).save("sketch.png")
    exec(code, {})
    assert Image.open("photo.png").size == (64, 64)


def test_readme_names_files_that_exist() -> None:
    for path in re.findall(r"`((?:models|data|options|util|tests)/[\w/.]*)`", README):
        assert (ROOT / path).exists() or "foo_" in path, path


def test_help_imports_nothing_slow_but_torch() -> None:
    code = (
        "import sys, runpy; sys.argv = ['train.py', '--help']\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print(sorted({'torchvision', 'matplotlib', 'scipy', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_importing_the_project_has_no_effects(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import torch; before = torch.get_rng_state()\n"
        "import train, translator, models.pix2pix_model, data.aligned_dataset, util.visualizer\n"
        "assert torch.equal(before, torch.get_rng_state())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == done.stderr == "" and not list(tmp_path.iterdir())


def test_every_flag_of_the_reference_is_accepted() -> None:
    # Values at their defaults; the built-in preset is off because --dataroot is given.
    flags = {
        "train": "dataroot name gpu_ids checkpoints_dir model input_nc output_nc ngf ndf netD netG "
        "n_layers_D norm init_type init_gain dataset_mode direction num_threads batch_size "
        "load_size crop_size max_dataset_size preprocess display_winsize epoch load_iter suffix "
        "wandb_project_name display_freq display_ncols display_id display_server display_env "
        "display_port update_html_freq print_freq save_latest_freq save_epoch_freq epoch_count "
        "phase n_epochs n_epochs_decay beta1 lr gan_mode pool_size lr_policy lr_decay_iters "
        "lambda_L1",
    }
    switches = "no_dropout serial_batches no_flip verbose use_wandb no_html save_by_iter"
    default = vars(TrainOptions().read(["--dataroot", "p"]))
    argv = []
    for name in flags["train"].split():
        value = default[name]
        value = ",".join(map(str, value)) if isinstance(value, list) else value
        argv += [f"--{name}={value}"]
    argv += [f"--{name}" for name in [*switches.split(), "continue_train"]]
    opt = TrainOptions().read(argv)
    assert all(getattr(opt, name) == default[name] for name in flags["train"].split())
    assert all(getattr(opt, name) is True for name in switches.split())
