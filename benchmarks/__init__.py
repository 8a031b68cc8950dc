"""What the claims of docs/performance.md and docs/training.md rest on: python -m benchmarks [--quick] [name ...]."""
