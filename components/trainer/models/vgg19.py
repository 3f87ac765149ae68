"""VGG19 (Simonyan and Zisserman, arXiv 1409.1556), with a spectrogram for its picture."""

from components.trainer.parts.backbones import backbone_entry, scratch_settings

ENTRY = backbone_entry(
    "vgg19",
    application="VGG19",
    preprocessing="caffe",
    imagenet_url="https://storage.googleapis.com/tensorflow/keras-applications/"
    "vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
    scratch=scratch_settings(shrink=4, epochs=45, learning_rate=3e-4),
)
