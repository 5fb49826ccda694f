"""Tells all about the DAGs of one file as plain data, a :class:`wtmo.graph.model.File` as JSON. Runs in the sandbox only.

:func:`wtmo.imports.loading.describe` loads the file, watched, and calls :func:`wtmo.graph.describe.dags.describe_dags`.
Everything is read off the DAG objects: the file has run, in this process, with database, Variables, Connections and
network cut off. What only a real run has renders to the path that led to it, ``<ti.xcom_pull(task_ids='a')>``; a
parameter without default to a value that its schema allows. What can't be told says why in an ``error`` field: one task
never hides another. One module a subject:

=============== =====================================================================================================
``watch``       what a file must not ask for while it is parsed; its lines, its time and its imports
``dags``        a file's DAGs, and all of one: here the others come together
``tasks``       all about a task, of every kind
``runs``        when a DAG runs, over a year
``context``     what templates can name in a run
``params``      user parameters: what is told of them, and a value for each
``templates``   which texts of a field are templates, and what these name
``rendering``   templates and whole fields, rendered as the task does it
``pods``        a pod's manifest, image and secrets
``mapped``      what a mapped task or group is expanded to
``waits``       what a sensor waits for, or a marker points to
``queries``     the BigQuery job of a query task
``connections`` Airflow connections and variables that a task uses
``values``      any value as JSON, and what stands for one that only a real run has
=============== =====================================================================================================
"""
