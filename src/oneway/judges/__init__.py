"""Who looks at a picture: face verifiers, how they take one, their features of a pack, and their scores."""
