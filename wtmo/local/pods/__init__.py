"""The local Kubernetes: the part of the core/v1 API that ``KubernetesPodOperator`` calls, and pods that run on this machine.

``python -m wtmo.local.pods --port N --state DIR --cert PEM --key PEM --token-file FILE`` serves it. One module a concern:

============== ======================================================================================================
``server``     HTTP: routes, bearer token, Kubernetes ``Status`` errors, log streams, exec over websocket
``cluster``    pods from creation to removal, their state on disk, what a restart does with them
``runtimes``   how a container becomes processes: Linux namespaces, or plain processes (``launch`` runs inside)
``docker``     how it becomes a container of a Docker engine (``engine`` talks to it)
``limits``     memory and processor limits; ``volumes``: emptyDir and secrets
``images``     which program stands for which image (``recorder`` stands for most)
``faults``     what goes wrong on purpose: a pod's annotation ``wtmo.local/fault``, or at random
``containers`` a container's environment, arguments and status
``validation`` what a pod must look like; ``selectors``, ``events``, ``logs``, ``records``, ``xcom``: what they say
============== ======================================================================================================

It is not a scheduler. nodeSelector, affinity, tolerations, resource requests, probes and lifecycle hooks are stored and returned, and
otherwise ignored; so are security contexts and workingDir, but by the Docker runtime.
"""
