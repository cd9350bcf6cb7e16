"""The composition root: an `Experiment` becomes a model, data and an engine, and is trained or tested."""

from __future__ import annotations

from t2t_vit.run.images import open_images
from t2t_vit.run.resuming import resume_point, resumed_experiment, stored_experiment
from t2t_vit.run.testing import TestRun, test
from t2t_vit.run.training import train

__all__ = ["TestRun", "open_images", "resume_point", "resumed_experiment", "stored_experiment", "test", "train"]
