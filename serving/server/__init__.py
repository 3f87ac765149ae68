"""A TF Serving that needs no install: the same gRPC and REST calls on the same SavedModels.

    python -m serving.server --model-base-path output/serving/genre --port 8500

How a Predict call goes (`service` has the line): received by `grpc_server` or `rest`, made into
arrays by `decode` and checked against its signature by `check`, held and run with others of its
kind by `queue` in the session that `loading` made, and answered by `encode`. `versions` says which
version that is, and swaps it when a new one is pushed.
"""
