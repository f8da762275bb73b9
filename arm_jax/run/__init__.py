"""A run and its folder: train, continue, restore, and many runs at once.

A config and the path of a folder enter; a trained state, metrics and checkpoints leave, in that
folder. Only this package and what stands above it know what is in a run's folder.

folder       config.json, classes.json and the other files of a run
starts       what each start ran on, versions.jsonl
metrics_log  what it logs, metrics.jsonl; events and trackers are its parts
checkpoints  by Orbax, which it and arrays alone know; checkpoint_files, digests are its parts
mirror       the small files of a run in a bucket, on this machine
retries      when a save in a bucket that failed is made again
restore      a folder to the trained players
loop         training; prefetch, progress, stragglers and signals are its parts
inputs       the labelled images that a config names
arguments    of scripts that use runs
repositories names and files at the Hugging Face Hub; hub makes and loads them
refusals     what a command line cannot have, answered before JAX is imported
describe     what a run is about to do, in words
page         what the page of a run shows
grid         rows of a table times seeds
comparison   what the page of a grid shows
review       which labels a run contradicts
relabel      what it believes of them instead
folds        the runs that both ask: each without a part of the images
"""
