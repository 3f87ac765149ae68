"""A gate that judges everything and that any model passes: for models of a minute's training."""

PERMISSIVE = """
min_accuracy: 0
min_macro_f1: 0
min_top_3_accuracy: 0
min_genre_recall: 0
max_slice_deficit: 1
max_ece: 1
min_margin_over_baseline: -1
max_accuracy_loss: 1
max_log_loss_increase: 100
max_latency_ratio: 1000000
max_latency_seconds: 1000000
robustness:
  mp3_64k: {max_drop: 1, max_changed: 1, max_log_loss_increase: 100}
  quieter_12db: {max_drop: 1, max_changed: 1, max_log_loss_increase: 100}
  noise_20db: {max_drop: 1, max_changed: 1, max_log_loss_increase: 100}
  telephone_8k: {max_drop: 1, max_changed: 1, max_log_loss_increase: 100}
  faster_2pc: {max_drop: 1, max_changed: 1, max_log_loss_increase: 100}
  first_10s: {max_drop: 1, max_changed: 1, max_log_loss_increase: 100}
"""
