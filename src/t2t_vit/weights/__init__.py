"""From a published name or a file to a state dict in the official naming: catalogue, download, safe reading.

Nothing here knows a model class. Each module is imported by its own name, so that looking up a URL
does not import PyTorch.
"""
