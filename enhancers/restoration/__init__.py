"""Sources of unknown degradation: degraded for training, told from their pictures, restored by the code."""
