"""MMPretrain's `tools/misc/print_config.py`: the same as `t2t-vit print-config`."""

import sys

from t2t_vit.cli import main

if __name__ == "__main__":
    main(["print-config", *sys.argv[1:]])
