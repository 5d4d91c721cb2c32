"""Looking at a pair of volumes in the slice views; `looking.Looking` is the way in."""
