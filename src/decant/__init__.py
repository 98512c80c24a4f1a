"""From a pretrained model and your labels to a small model you can serve and defend."""
