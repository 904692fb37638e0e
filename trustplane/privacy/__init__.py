"""What may be learned from data, and at what price: accounting and private training."""
