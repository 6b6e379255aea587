"""What all HTML pages share: style, scripts, and the order and the names of images."""
