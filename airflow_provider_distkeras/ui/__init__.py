"""The pages in Airflow's UI. The plugin imports them when one is asked for."""
