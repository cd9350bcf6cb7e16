"""Sets of images with labels: where they come from, and parts of them."""
