"""What changes between two states of the DAGs: the facts that matter, grouped so that a reviewer reads them in a minute."""
