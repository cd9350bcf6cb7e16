"""MMPretrain's `tools/misc/verify_dataset.py`: `t2t-vit verify-data` of one phase, with its names of the options."""

import sys

from t2t_vit.cli import main

NAMES = {"--out-path": "--out", "--num-process": "--workers"}

if __name__ == "__main__":
    arguments = []
    for argument in sys.argv[1:]:
        name, equals, value = argument.partition("=")
        arguments.append(NAMES.get(name, name) + equals + value)
    # Its defaults; what is given comes later and wins.
    main(["verify-data", "--phase", "train", "--out", "brokenfiles.log", *arguments])
