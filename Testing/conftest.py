"""Settings for all tests: Hypothesis draws the same examples in every run, so that the suite never fails by chance."""

from hypothesis import settings

settings.register_profile("deterministic", derandomize=True, deadline=None, print_blob=False)
settings.load_profile("deterministic")
