"""The network and recipe of t2t-vit-tiny_signs-tenth.py from fresh weights.

    python tools/train.py configs/t2t_vit/t2t-vit-tiny_signs-tenth-scratch.py

Hardware: one core with bfloat16. Measured: nothing yet. The comparison: study/README.md.
"""

import dataclasses

from t2t_vit.config import load_experiment

base = load_experiment("t2t-vit-tiny_signs-tenth")
experiment = dataclasses.replace(base, model=dataclasses.replace(base.model, pretrained=None))
