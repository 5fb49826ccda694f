"""Shared operators: everything with an execute()."""
