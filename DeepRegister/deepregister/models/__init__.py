"""Model types: what a user picks. Each is a folder with a card, and weights where it is learned.

The registry reads cards and needs no torch; the classes beside it compute and do.
"""
