"""EfficientNet-B0 (Tan and Le, arXiv 1905.11946), with a spectrogram for its picture."""

from components.trainer.parts.backbones import backbone_entry, scratch_settings

ENTRY = backbone_entry(
    "efficientnetb0",
    application="EfficientNetB0",
    preprocessing="torch",
    imagenet_url="https://storage.googleapis.com/keras-applications/efficientnetb0_notop.h5",
    scratch=scratch_settings(shrink=2, epochs=100, learning_rate=2e-3),
    first_layer="stem_conv_pad",
)
