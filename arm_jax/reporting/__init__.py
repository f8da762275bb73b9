"""Figures and files for people.

Results, samples, histograms and logged records enter; figures and report files leave. The package
draws what it is given: it reads no run's folder and restores no checkpoint.

pictures  the contact sheet, the confusion matrix
curves    training curves; weight and loss against confidence
report    the figures of one run
scores    the result of an evaluation as files
pages     HTML pages: templates, tables, embedded images
"""
