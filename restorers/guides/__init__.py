"""Vision-language models as providers of features; see `base.Guide`."""
