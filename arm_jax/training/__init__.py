"""From networks and batches to a trained state.

objective    what one step minimises and maximises
step         one step, pure; state is what changes from one to the next
train        the loop; prefetch, progress and signals are around it
workdir      the folder of a run; checkpoints in it
describe     what a run is about to do, in words
"""
