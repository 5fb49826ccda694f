"""The DAGs of this repository and the edges between them."""
