"""Files in storage: file systems, the CSV dialect and header, Parquet folders."""
