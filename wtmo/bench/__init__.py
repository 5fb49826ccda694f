"""``make bench``: what the platform costs, in medians of several runs, with the machine they were measured on.

Seconds are wall-clock seconds; CPU seconds are user and system time of all processes concerned, which other load on the machine
changes least. Memory is the proportional set size (Linux; resident size elsewhere), which counts shared pages once. A figure
with a limit fails the bench when its median is beyond it.

========== ==========================================================================================================
``basics``  suites ``imports``, ``tasks``, ``start``, ``pods``, ``set-up``
``waiting`` suite ``waiting``: hundreds of pods that are waited for at once
``queries`` suite ``queries``: the same queries in pods and as BigQuery jobs of Airflow's own
``measure`` figures, and what is read from a running platform
========== ==========================================================================================================
"""
