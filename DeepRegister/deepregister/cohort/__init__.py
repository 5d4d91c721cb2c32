"""Many pairs: a table of them, registered on Dask workers, and one summary of how it went.

`rows` reads the table and finds everything wrong with it; `work` registers one row; `cluster`, `run` and `task` spread
the rows over workers; `outcome` and `summary` say what became of each. Dask is imported only when a cohort runs.
"""
