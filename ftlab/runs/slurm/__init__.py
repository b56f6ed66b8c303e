"""Trainings on a Slurm cluster, submitted by submitit: the queue's launcher, and what each task of a job runs."""
