"""WTMO, the tool of this repository: author, CI and on-call features as a library with a command line."""
