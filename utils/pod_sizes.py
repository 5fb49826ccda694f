"""What a pod asks of the cluster, by name: ``GKEPodOperator(resources="small")``.

The sizes are the requests that production's pods make today. A size sets no limit: nothing is known yet of what
these programs use at most, and a limit that is too low ends them.
"""

from __future__ import annotations

from dataclasses import dataclass

from utils.names import did_you_mean


@dataclass(frozen=True)
class PodSize:
    """Requests of a pod.

    :param memory: in Kubernetes' notation, ``400Mi``.
    :param cpu: in Kubernetes' notation, ``1`` or ``500m``. Default: none is requested.
    """

    memory: str
    cpu: str | None = None

    @property
    def requests(self) -> dict[str, str]:
        """As Kubernetes' ``resources.requests``."""
        return {"memory": self.memory} | ({"cpu": self.cpu} if self.cpu else {})


POD_SIZES = {
    "tiny": PodSize("400Mi"),
    "small": PodSize("512Mi"),
    "medium": PodSize("1Gi"),
    "large": PodSize("3Gi"),
    "xlarge": PodSize("6Gi", cpu="4"),
}


def pod_size(name: str) -> PodSize:
    """The size of that name.

    :raises ValueError: no size has that name; the message lists the near ones.
    """
    try:
        return POD_SIZES[name]
    except KeyError:
        raise ValueError(f"No pod size is named {name!r}. {did_you_mean(name, POD_SIZES)}") from None
