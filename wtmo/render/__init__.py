"""What a task will do on a day: its pod, its SQL, the run it waits for. Worked out without a cluster, a database or credentials."""
