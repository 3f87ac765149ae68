"""Inception v3 (Szegedy et al., arXiv 1512.00567), with a spectrogram for its picture."""

from components.trainer.parts.backbones import backbone_entry, scratch_settings

ENTRY = backbone_entry(
    "inceptionv3",
    application="InceptionV3",
    preprocessing="tf",
    imagenet_url="https://storage.googleapis.com/tensorflow/keras-applications/"
    "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
    scratch=scratch_settings(shrink=1, epochs=60, learning_rate=1e-3, batch_size=16),
    least_mel_bins=75,
    least_window_frames=75,
)
