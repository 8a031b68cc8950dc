"""What several benchmarks need: a Spark session, references without Spark, load on a server, and the table of figures."""
