"""Training of models: synthesis of pairs, losses, recipes, and the loop that runs them."""
