"""ZetaSQL's protocol buffers under short names."""

from __future__ import annotations

from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as service
from zetasql.wasi._pb2.zetasql.proto import function_pb2 as functions
from zetasql.wasi._pb2.zetasql.proto import options_pb2 as options
from zetasql.wasi._pb2.zetasql.proto import simple_catalog_pb2 as catalog
from zetasql.wasi._pb2.zetasql.public import function_pb2 as signatures
from zetasql.wasi._pb2.zetasql.public import options_pb2 as language
from zetasql.wasi._pb2.zetasql.public import type_pb2 as types
from zetasql.wasi._pb2.zetasql.public import value_pb2 as values
from zetasql.wasi._pb2.zetasql.resolved_ast import resolved_node_kind_pb2 as nodes

__all__ = ["catalog", "functions", "language", "nodes", "options", "service", "signatures", "types", "values"]
