"""What an encoder is for: how labels are read, the loss, the decisions, and what they are worth."""
