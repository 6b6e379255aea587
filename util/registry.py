"""Find models and datasets by file name: `models/foo_model.py` holds the class `FooModel`."""

import difflib
import importlib

from util.files import ROOT as _ROOT

# Other names of models.
MODEL_ALIASES = {
    "deepfill": "inpaint",
    "inpainting": "inpaint",
    "gaugan": "spade",
    "pix2pix_hd": "pix2pixHD",
    "cyclegan": "cycle_gan",
}
# Names of datasets in SPADE, and what is the same here.
SPADE_DATASETS = {
    "coco": "--dataset_mode labels --label_nc 182 --contain_dontcare_label",
    "ade20k": "--dataset_mode labels --label_nc 150 --contain_dontcare_label --no_instance",
    "cityscapes": "--dataset_mode labels --label_nc 35 --preprocess fixed --aspect_ratio 2",
    **dict.fromkeys(("facades", "custom"), "--dataset_mode labels"),
}


def known(package: str) -> list[str]:
    """Return the names of all `*_model.py` or `*_dataset.py` in `package` ("models" or "data")."""
    suffix = _suffix(package)
    names = [f.stem.removesuffix(suffix) for f in (_ROOT / package).glob(f"*{suffix}.py")]
    return sorted(name for name in names if name.isidentifier() and name != "base")


def find_class(package: str, name: str, flag: str) -> type:
    """Return the class of the file `package/NAME_model.py` or `package/NAME_dataset.py`.

    The class has the file's name without underscores, in any case. ValueError lists the known
    names if the file is missing, and names the expected class if the file lacks it.
    """
    if name not in known(package):
        known_ones = ", ".join(known(package))
        raise ValueError(f"{flag} {name}: unknown; known are {known_ones}{_meant(package, name)}")
    stem = name + _suffix(package)
    module = importlib.import_module(f"{package}.{stem}")
    wanted = stem.replace("_", "").lower()
    for attribute, value in vars(module).items():
        if attribute.lower() == wanted and isinstance(value, type):
            return value
    raise ValueError(
        f"{flag} {name}: {package}/{stem}.py holds no class named "
        f"{''.join(word.title() for word in stem.split('_'))}"
    )


def _meant(package: str, name: str) -> str:
    """Return "; did you mean X?", or what another program's dataset is here; "" for no idea."""
    if package == "data" and name in SPADE_DATASETS:
        return f"; here it is {SPADE_DATASETS[name]}"
    names = {known_name.lower(): known_name for known_name in known(package)}
    names |= MODEL_ALIASES if package == "models" else {}
    matches = difflib.get_close_matches(name.lower(), names, n=1)
    return f"; did you mean {names[matches[0]]}?" if matches else ""


def _suffix(package: str) -> str:
    return {"models": "_model", "data": "_dataset"}[package]
