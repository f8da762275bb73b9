"""Weights in and out.

A network and a file or address enter; the network with these weights, or a file, leaves. The
package knows the names that others give to weights, and nothing of data, training or runs.

pretrained    `load`: weights of torchvision, timm and mmsegmentation into a network
published     where the ImageNet weights of each backbone are
export        `.safetensors` by our names and mmsegmentation's, and StableHLO
weight_names  the tables of names; weight_files and torch_files read the files, without PyTorch
inert_pickle  what PyTorch files are read with: no code of theirs is run
"""
