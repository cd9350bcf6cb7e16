"""The network and recipe of t2t-vit-mini_signs.py from fresh weights: what pretraining is worth.

    python tools/train.py configs/t2t_vit/t2t-vit-mini_signs-scratch.py

Hardware: two CPU cores. Measured: nothing yet.
"""

import dataclasses

from t2t_vit.config import load_experiment

base = load_experiment("t2t-vit-mini_signs")
experiment = dataclasses.replace(base, model=dataclasses.replace(base.model, pretrained=None))
