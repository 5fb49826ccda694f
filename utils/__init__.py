"""Plain functions and data that DAGs and operators use: no execute(), no I/O at import."""
