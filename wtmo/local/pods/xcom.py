"""The XCom sidecar of ``KubernetesPodOperator``: what it runs and what is asked of it.

Spelled as the cncf-kubernetes provider 10.25.0 does (``utils/xcom_sidecar.py``, ``utils/pod_manager.py``); a test compares
them with the installed provider. They are repeated here because importing the provider costs a server 150 MB.
"""

from __future__ import annotations

FOLDER = "/airflow/xcom"
FOLDER_VARIABLE = "WTMO_XCOM_DIR"
FILE_NAME = "return.json"
SIDECAR_COMMAND = ("sh", "-c", 'trap "exit 0" INT; while true; do sleep 1; done;')
EMPTY_RESULT = "__airflow_xcom_result_empty__"
READ_COMMAND = (
    "/bin/sh",
    "-c",
    f"if [ -s {FOLDER}/{FILE_NAME} ]; then cat {FOLDER}/{FILE_NAME}; else echo {EMPTY_RESULT}; fi",
)
SHELL_COMMAND = ("/bin/sh",)
END_COMMANDS = (
    "kill -2 $(pgrep -u $(id -u) -f 'sh')",
    "for f in /proc/[0-9]*/comm; do "
    '[ -O $f ] && read c < $f && [ "$c" = "sh" ] && pid=${f%/comm} && kill -2 ${pid##*/}; '
    "done",
)
"""What is typed into ``SHELL_COMMAND`` to end the sidecar: the second when the first writes to standard error."""
