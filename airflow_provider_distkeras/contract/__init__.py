"""What the Airflow side and the Spark side agree on. Standard library only, so both may import it."""
