"""From files on a disk to batches: sources, augmentation, pipeline, and generated scenes."""
