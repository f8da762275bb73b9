"""From finished runs to pictures and tables.

report     the pictures of one run: curves, examples, pictures draw them
grid       many runs: rows of a table times seeds
breakdown  whether one run's W suppresses confident pixels or label noise has turned it
"""
