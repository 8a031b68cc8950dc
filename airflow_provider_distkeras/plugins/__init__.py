"""Pages in Airflow's UI: training reports, the progress of a training, and the metrics of a DAG's models."""
