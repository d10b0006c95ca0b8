"""`kubectl telltale`: a rollout as a person sees and steers it. It writes RolloutActions and nothing else."""
