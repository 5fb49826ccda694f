"""What a pod asks of the cluster, by name: ``GKEPodOperator(resources="small")``.

The requests are those that production's pods make today, without any limit. The memory limit is there for what runs away:
several times the request, so that it ends (137, OOMKilled) before it pushes others off its node; a program that needs
more takes the next size. The processor has no limit: a program may use what is idle, and a limit would only slow it down.
"""

from __future__ import annotations

from dataclasses import dataclass

from utils.names import did_you_mean


@dataclass(frozen=True)
class PodSize:
    """Requests and limits of a pod.

    :param memory: requested, in Kubernetes' notation, ``400Mi``.
    :param memory_limit: in the same notation.
    :param cpu: in Kubernetes' notation, ``1`` or ``500m``. Default: none is requested.
    """

    memory: str
    memory_limit: str
    cpu: str | None = None

    @property
    def requests(self) -> dict[str, str]:
        """As Kubernetes' ``resources.requests``."""
        return {"memory": self.memory} | ({"cpu": self.cpu} if self.cpu else {})

    @property
    def limits(self) -> dict[str, str]:
        """As Kubernetes' ``resources.limits``."""
        return {"memory": self.memory_limit}


POD_SIZES = {
    "tiny": PodSize("400Mi", "2Gi"),
    "small": PodSize("512Mi", "2Gi"),
    "medium": PodSize("1Gi", "4Gi"),
    "large": PodSize("3Gi", "6Gi"),
    "xlarge": PodSize("6Gi", "12Gi", cpu="4"),
}


def pod_size(name: str) -> PodSize:
    """The size of that name.

    :raises ValueError: no size has that name; the message lists the near ones.
    """
    try:
        return POD_SIZES[name]
    except KeyError:
        raise ValueError(f"No pod size is named {name!r}. {did_you_mean(name, POD_SIZES)}") from None
