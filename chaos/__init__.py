"""`make chaos`: whether the production shape loses anything when one of its parts is killed during a training."""
