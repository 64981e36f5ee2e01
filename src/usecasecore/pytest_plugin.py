"""The pytest plugin. pytest imports it in every run where usecasecore is installed, so it imports nothing at the top.

It has no options and no fixtures yet: what a test needs is imported from `usecasecore` itself.
"""
