"""Flink as Beam's engine: the job server's jars, the job server, a cluster on this machine."""
