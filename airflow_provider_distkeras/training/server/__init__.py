"""The parameter server and its client: weights, ledger, requests, shards, listener, and the wire protocol."""
