"""The pod server with images of its own: ``test/python`` runs its arguments as ``python -c <code> <arguments>``."""

from __future__ import annotations

import sys

from wtmo.local.pods.__main__ import main
from wtmo.local.pods.images import ImageTable, Program


class Images(ImageTable):
    def program(self, image: str) -> Program:
        if image.startswith("test/python"):
            return Program("python", (sys.executable, "-c"))
        return super().program(image)


if __name__ == "__main__":
    sys.exit(main(images=Images(frozenset({"example.com/team/job"}))))
