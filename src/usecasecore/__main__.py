"""`python -m usecasecore`."""

from usecasecore.cli import main

if __name__ == "__main__":
    main()
