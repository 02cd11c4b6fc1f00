"""What processes beside a running stream tell each other, and what decisions for it rest on."""
