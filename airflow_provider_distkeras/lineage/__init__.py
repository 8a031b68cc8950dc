"""OpenLineage: the datasets that a task reads and writes."""
