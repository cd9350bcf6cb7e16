"""Tokens-to-Token Vision Transformers."""

__version__ = "0.1.0"
