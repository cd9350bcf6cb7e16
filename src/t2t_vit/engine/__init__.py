"""The training loop and what it needs. Nothing here knows a concrete model or a config."""
