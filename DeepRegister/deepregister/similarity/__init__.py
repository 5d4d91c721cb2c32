"""Measures of how well two images match, on torch tensors."""
