"""Images: from bytes to pixels, from pixels to tensors, and the names of what they show."""
