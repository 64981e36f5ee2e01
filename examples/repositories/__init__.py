"""The orders of a team that keeps its own repositories: plugged in at `select` and `apply`, with the same commands and the same ledger."""
