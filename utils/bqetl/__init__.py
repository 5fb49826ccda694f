"""bigquery-etl's files and command lines: what is run when a query, its parts or its checks are asked for.

Shared by the operator that runs them as BigQuery jobs (:mod:`operators.bigquery`) and by the program that stands for the
bigquery-etl image on the local platform, so that both run the same jobs. Nothing here talks to BigQuery.
"""
