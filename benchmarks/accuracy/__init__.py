"""What a change of the recipe is worth on real faces: studies of several configurations, each with several seeds."""
