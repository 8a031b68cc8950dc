"""Connections to the outside: spark-submit, YARN, Kubernetes, object stores, and a job's log, lease and end."""
