"""Flink as Beam's engine: the job server and its jars."""
