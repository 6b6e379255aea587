"""A small model of label maps, as the source of a file."""

LABEL_MODEL = """
import torch.nn.functional as F
from torch import nn

from models.base_model import BaseModel
from util.palette import in_colours, shown_colours


class PaintModel(BaseModel):
    @staticmethod
    def modify_commandline_options(parser, is_train):
        parser.set_defaults(dataset_mode="labels")
        return parser

    def __init__(self, opt):
        super().__init__(opt)
        self.classes = opt.label_nc + opt.contain_dontcare_label
        self.nets["G"] = nn.Conv2d(self.classes + (not opt.no_instance), opt.output_nc, 1)
        if self.isTrain:
            self.optimizers["G"] = self.make_optimizer(self.nets["G"])
            self.updates["G"] = self.loss_G

    def set_input(self, batch):
        self.label, self.image_paths = batch["label"].to(self.device), batch["label_paths"]
        self.input = F.one_hot(self.label[:, 0], self.classes).permute(0, 3, 1, 2).float()
        if not self.opt.no_instance:
            self.input = F.pad(self.input, (0, 0, 0, 0, 0, 1))
            self.input[:, -1:] = batch["edges"].to(self.device)
        self.real = batch["image"].to(self.device) if "image" in batch else None

    def forward(self):
        self.fake_B = self.nets["G"](self.input)
        colours = in_colours(self.label, shown_colours(self.opt))
        self.visuals = {"label": colours, "fake_B": self.fake_B}

    def loss_G(self):
        self.losses["G"] = F.l1_loss(self.fake_B, self.real)
        return self.losses["G"]

    def metric_pair(self):
        return self.fake_B, self.real

    def optimize_parameters(self):
        self.forward()
        self.update("G", self.loss_G)
"""
