"""The Open Inference Protocol (KServe's V2, by REST and gRPC) and V1: other ways to ask the versions that serve."""
