"""All that both Airflow's side and Spark's side know. Standard library only."""
