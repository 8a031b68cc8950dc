"""The distributed engine under the Estimator: trainers, update rules, the parameter server and its workers."""
