"""All params with their checks, defaults and docs: specs are checked against them, Spark ML Params are made from them."""
