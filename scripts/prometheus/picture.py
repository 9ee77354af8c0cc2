"""The dashboard's panels: their queries, and a picture of them."""

import json


def panels(dashboard):
    return [panel for panel in json.loads(dashboard.read_text())["panels"] if panel["type"] != "row"]


def concrete(query):
    """A panel's query with its variables replaced, for a server that is scraped every second."""
    for name, value in {"$__rate_interval": "15s", "$__range": "5m", "$job": ".*", "$instance": ".*", "$book": ".*"}.items():
        query = query.replace(name, value)
    return query
