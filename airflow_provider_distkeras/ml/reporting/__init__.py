"""What a training leaves for people: the report, its figures, MLflow runs and TensorBoard event files."""
