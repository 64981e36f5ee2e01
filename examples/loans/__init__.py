"""The loan applications of the BPI Challenge 2012: a real event log, replayed through a lifecycle."""
