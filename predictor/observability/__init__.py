"""What the predictor tells about itself: metrics, traces, logs, and the state of its stores."""
