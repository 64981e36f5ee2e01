"""The orders over HTTP: FastAPI on an AsyncRuntime, written by hand."""
