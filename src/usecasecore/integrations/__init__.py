"""Bridges to other libraries: one module for each, needing one extra; none of them knows another."""
