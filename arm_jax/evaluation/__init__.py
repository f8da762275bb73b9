"""From a trained network to labels and numbers.

protocol      how an image is looked at: whole or in windows, once or at many scales
inference     images to labels, in bounded memory; tiles and resampling are its parts
evaluate      a labelled split to metrics; boundary scores what lies near edges
predict       any images to label files and pictures; readahead keeps images ready
server_files  predictions as the benchmarks' servers want them
processes     sums over the processes of a run
"""
