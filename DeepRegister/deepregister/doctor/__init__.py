"""`deepregister doctor`: why it does not run here, and the command that mends it.

Only the standard library is imported in this process: every package is tried in a process of its own (`probe`), so that
one that is missing, broken or crashes is a finding and not the end.
"""
