"""From files on a disk to batches.

labels      what label values mean: classes, colours, tables from stored values
records     what a source of records is
sources     `open_source`, which opens any of them: folders, the benchmarks' own files (cityscapes,
            ade20k, camvid), prepared ArrayRecord data sets, generated scenes; wrappers
check       every label looked at once before training; survey counts everything
coarsen     coarse labels from fine ones; agreement measures how these differ
scenes      generated street scenes with exact labels (scene_canvas, scene_objects, scene_street)
augment     resize, crop and flip on the host; jitter is colour and normalisation on the device
pipeline    shuffled, augmented batches without end, the same for the same seed and step
prepare     data sets written to ArrayRecord by the builders under datasets/
"""
