"""Small sets of images that are kept in the memory of the device that computes, and augmented there in batches."""
