"""Models in the wild: found in files, folders and packages, taken apart, run here, and told of in one report.

The questions are those of gaugeNN (Almeida et al., IMC 2021, arXiv 2109.13963).
"""
