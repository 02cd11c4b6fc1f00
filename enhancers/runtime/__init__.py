"""Running enhancers: decoded frames in, frames of display size out."""
