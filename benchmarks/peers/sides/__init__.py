"""The ticket on other libraries. Only `.venv-peers` has them, so nothing else imports these modules, and no type checker reads them.

Each has `prepare`, which makes its tables in a new PostgreSQL database and returns what runs one command, and the tickets' ids.
"""
