"""MMPretrain's `tools/analysis_tools/get_flops.py`: `t2t-vit info` of one config, at the size that `--shape` names."""

import argparse

from t2t_vit.cli import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file, or the name of a model")
    parser.add_argument("--shape", type=int, nargs="+", default=[224, 224], help="height and width, or one for both")
    arguments = parser.parse_args()
    if len(arguments.shape) > 2:
        parser.error(f"--shape has {len(arguments.shape)} numbers; expected height and width, or one for both")
    sizes = [part for side in arguments.shape for part in ("--img-size", str(side))]
    main(["info", arguments.config, *sizes])
