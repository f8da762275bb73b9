"""From files on a disk to batches.

Paths, class tables and settings enter; records of an image and its label, and batches of them,
leave. The package knows nothing of networks, losses or runs.

labels      what label values mean: classes, colours, tables from stored values
records     what a source of records is
formats     how people draw labels: a table of the formats, one file each
folders     a person's own images and labels; places, arrangement, endings and many find them
layouts     data sets by where their files lie; official and cityscapes are such
sources     DATASETS and `open_source`, which opens any of them: folders, layouts, prepared
            ArrayRecord data sets, generated scenes; wrappers
check       reads every label once before training; survey counts everything
coarsen     coarse labels from fine ones; agreement measures how these differ
scenes      generated street scenes with exact labels
augment     resize, crop and flip on the host; jitter changes colours on the device
pipeline    shuffled, augmented batches without end, the same for the same seed and step
images      bytes of image files to arrays; image_files decodes them when they are asked for
prepare     data sets written to ArrayRecord by the builders under datasets/
colors      labels in colour, and as palette PNGs
"""
