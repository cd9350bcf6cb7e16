"""MMPretrain's `tools/train.py`: the same as `t2t-vit train`."""

import sys

from t2t_vit.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
