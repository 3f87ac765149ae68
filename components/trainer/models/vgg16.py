"""VGG16 (Simonyan and Zisserman, arXiv 1409.1556), with a spectrogram for its picture."""

from components.trainer.parts.backbones import backbone_entry, scratch_settings

ENTRY = backbone_entry(
    "vgg16",
    application="VGG16",
    preprocessing="caffe",
    imagenet_url="https://storage.googleapis.com/tensorflow/keras-applications/"
    "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    scratch=scratch_settings(shrink=4, epochs=30, learning_rate=3e-4),
)
