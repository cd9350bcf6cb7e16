"""MMPretrain's `tools/test.py`: the same as `t2t-vit test`."""

import sys

from t2t_vit.cli import main

if __name__ == "__main__":
    main(["test", *sys.argv[1:]])
