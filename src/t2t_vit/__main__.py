"""`python -m t2t_vit` is `t2t-vit`."""

from t2t_vit.cli import main

if __name__ == "__main__":
    main()
