"""Compares sampled requests with the training data of the released model."""
