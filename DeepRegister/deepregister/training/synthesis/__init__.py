"""Pairs of images to train on, made on the training device from label maps and from nothing.

`ranges` says what is drawn (no torch needed to read it), `pairs` puts the pairs together.
"""
