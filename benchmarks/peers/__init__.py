"""What somebody would pick instead: `make bench-peers`. Each runs in `.venv-peers`, as its own documentation recommends it."""
