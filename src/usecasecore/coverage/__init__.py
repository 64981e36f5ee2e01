"""Which transitions the tests took: recorded while they run, measured against the declaration, reported.

How it works: `recorder` watches the steps of the shell and counts `facts`; `data` holds them beside the declarations, so
that one file says everything; `criteria` turns both into items that are covered or not; `missing` says how to cover one;
`baseline` compares two files; `summary` draws the conclusion; `reports` writes what people and programs read. `session` is
all of that for one run of pytest, `children` for the processes that it starts.

Nothing is imported here: pytest's plugin and the command line start without SQLAlchemy.
"""
