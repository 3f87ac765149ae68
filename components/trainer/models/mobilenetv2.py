"""MobileNetV2 (Sandler et al., arXiv 1801.04381), with a spectrogram for its picture."""

from components.trainer.parts.backbones import backbone_entry, scratch_settings

ENTRY = backbone_entry(
    "mobilenetv2",
    application="MobileNetV2",
    preprocessing="tf",
    imagenet_url="https://storage.googleapis.com/tensorflow/keras-applications/"
    "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_128_no_top.h5",
    scratch=scratch_settings(shrink=2, epochs=80, learning_rate=2e-3),
)
