"""Where a model's interpreter comes from: packed environments, unpacked once into a cache that servers share."""
