"""MMPretrain's `tools/model_converters/publish_model.py`: `t2t-vit publish`, with its names of the options."""

import argparse

from t2t_vit.cli import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("in_file", help="a checkpoint, as training leaves it")
    parser.add_argument("out_file", help="the new file; its hash goes into its name")
    parser.add_argument("--no-ema", action="store_true", help="take the raw weights, not their average")
    parser.add_argument("--dataset-type", help="taken for compatibility; classes come from the checkpoint")
    arguments = parser.parse_args()
    weights = "raw" if arguments.no_ema else "ema"
    main(["publish", arguments.in_file, arguments.out_file, "--weights", weights])
