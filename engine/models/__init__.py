"""Networks by name: the papers' ConvNet family and everything timm has."""

from engine.models.convnet import ConvNet
from engine.models.factory import build_model, check_model_name

__all__ = ["ConvNet", "build_model", "check_model_name"]
