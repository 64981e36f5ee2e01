"""The static checks, by what they look at."""
