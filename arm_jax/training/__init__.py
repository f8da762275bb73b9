"""What one training step computes, on the device.

Players, a batch and the settings of the step enter; the next state and the sums for the log leave.
The package is pure: it knows no files, no folder of a run, and no clock.

objective     what one step minimises and maximises; pixel_maps takes it a few rows at a time
step          one step; state is what changes from one to the next, records what is logged
accumulation  a batch in parts, with the norms of the whole
"""
