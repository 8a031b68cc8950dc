"""The entry points of spark-submit, one per operator: read the request, call `ml`, commit the manifest."""
