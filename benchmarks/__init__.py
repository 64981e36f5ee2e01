"""What a command costs, next to hand-written code that does the same: `python -m benchmarks`. See README.md."""
