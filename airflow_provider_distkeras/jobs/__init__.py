"""What spark-submit runs: read the request, call `ml`, commit the manifest."""
