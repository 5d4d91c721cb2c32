"""The data sets by their old name; see the package `datasets`."""

from datasets import DATASETS, BenchmarkPair, brains, hippocampi, labels

__all__ = ["DATASETS", "BenchmarkPair", "brains", "hippocampi", "labels"]
