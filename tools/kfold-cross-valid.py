"""MMPretrain's `tools/kfold-cross-valid.py`: the same as `t2t-vit cross-validate`."""

import sys

from t2t_vit.cli import main

if __name__ == "__main__":
    main(["cross-validate", *sys.argv[1:]])
