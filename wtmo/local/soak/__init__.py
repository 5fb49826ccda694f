"""``make soak``: hundreds of pods, queries and syncs while everything fails, and an account of what became of each.

``SEED`` decides which tasks there are and what their programs do (:mod:`.plan`), which pods meet which fault
(:mod:`wtmo.local.pods.faults`), which syncs fail, and the order of the kills and the least time between them
(:mod:`.chaos`). Not repeatable is what the machine decides: which of the tasks that wait is started next, and so what a
kill meets; which process of several that run tasks is killed; how long everything takes.
"""
