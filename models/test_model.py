"""One-sided translation: a generator and images without targets."""

import argparse
from typing import Any

from models.base_model import BaseModel


class TestModel(BaseModel):
    """fake = G(real), with G from `EPOCH_net_G{model_suffix}.pth`; test.py only."""

    __test__ = False  # not a pytest class

    @staticmethod
    def modify_commandline_options(
        parser: argparse.ArgumentParser, is_train: bool
    ) -> argparse.ArgumentParser:
        if is_train:
            raise ValueError("--model test: translates only; train with pix2pix or another model")
        parser.set_defaults(dataset_mode="single")
        return parser

    def __init__(self, opt: Any):
        super().__init__(opt)
        if opt.output_nc not in (1, 3):
            raise ValueError(
                f"--model test: shows images of 1 or 3 channels, this run gives {opt.output_nc}; "
                f"leave --model to the run"
            )
        self.net_name = f"G{opt.model_suffix}"
        self.nets[self.net_name] = self.make_generator()

    def generator(self) -> Any:
        return self.nets[self.net_name]

    @property
    def netG(self) -> Any:
        """The generator."""
        return self.generator()

    def set_input(self, batch: dict[str, Any]) -> None:
        side, _ = self.sides()
        self.real = self.to_device(batch, side)
        self.image_paths = batch[f"{side}_paths"]

    def forward(self) -> None:
        self.visuals = {"real": self.real, "fake": self.generator()(self.real)}
