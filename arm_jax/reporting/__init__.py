"""Figures and files for people.

Results, samples, histograms and logged records enter; figures and report files leave. The package
draws what it is given: it reads no run's folder and restores no checkpoint.

scores    the result of an evaluation as files, written and read
samples   images of a split, and what a network finds in them
maps      maps of numbers as colours
pictures  the contact sheet, the confusion matrix
curves    training curves; weight and loss against confidence
report    the figures of one run, as PNG files
layers    the layers of an image under the slider of a page
run_page  the page of one run
compare_page  the page of several; intervals of means
review_page  the page of a label review
pages     HTML pages: templates, tables, embedded images
markdown  tables in Markdown
"""
