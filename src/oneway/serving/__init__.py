"""What runs where the numbers arrive: a reference server that answers by a bundle, and keeps nothing."""
