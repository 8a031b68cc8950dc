"""Data: sources of rows, their profiles, and the pipeline that turns columns into features."""
