"""MMPretrain's configs and names for the same settings. Nothing of MMPretrain is needed, and no config is run."""

from __future__ import annotations

from t2t_vit.config.mmpretrain.file import Reading, read_file, read_values
from t2t_vit.config.mmpretrain.model import model_settings
from t2t_vit.config.mmpretrain.names import DOTTED_NAMES
from t2t_vit.config.mmpretrain.source import is_mmpretrain, read_text

__all__ = ["DOTTED_NAMES", "Reading", "is_mmpretrain", "model_settings", "read_file", "read_text", "read_values"]
