"""Pages that are made from the DAGs."""
