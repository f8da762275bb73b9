"""Which labels are wrong: regions that a network contradicts with confidence, worst first.

Likelihoods and given labels of single images enter as plain arrays, and so do a person's decisions;
ranked regions, tables and corrected labels leave. The package knows neither networks nor runs, and
draws nothing.

regions     candidates of one image, and the terms of their score
masks       regions as polygons and back
images      scores of whole images: swapped files, empty labels, the soft minimum
confusions  given against predicted: systematic swaps
groups      regions of one kind, decided together
refit       the score, fitted to a person's decisions
findings    what a review keeps of many images, in bounded memory
files       CSV, JSON lines, LabelMe and COCO; decisions read back
apply       decisions to corrected labels
"""
