"""A TF Serving that needs no install: the same gRPC and REST calls on the same SavedModels.

    python -m serving.server --model-base-path output/serving/genre --port 8500

How a request goes: `grpc_services` or `rest` read it, `prediction` checks it against the
signature, `batching` runs it together with others of its kind in the session that `loading`
made, and `versions` says which version that is and swaps it when a new one is pushed.
"""
