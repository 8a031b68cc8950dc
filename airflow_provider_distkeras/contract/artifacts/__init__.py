"""Files of an attempt: its request, manifest, lease and failure, and what refers to them."""
