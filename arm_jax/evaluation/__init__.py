"""From a trained network to labels and numbers.

A network, images and a protocol enter; labels, class scores and metrics leave. The package knows
nothing of training, of a run's folder or of figures.

protocol      how an image goes through the network: whole or in windows, once or at many scales
inference     images to labels, in bounded memory; passes and tiles are its parts
labelled      labelled images, checked, in batches of one size
evaluate      a labelled split to metrics; boundary scores what lies near edges, by_image has each
              image's own
predictions   any images to labels, a batch at a time; predict writes them to files
server_files  predictions as the benchmarks' servers want them
"""
