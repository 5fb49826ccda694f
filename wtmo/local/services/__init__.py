"""Small stand-ins in one process: Fivetran, an SMTP sink, a Slack sink, and Google's token endpoint.

``python -m wtmo.local.services`` starts them, each on a port of its own; see :mod:`wtmo.local.services.__main__`.
"""
