"""`python -m oneway.shipping.schema` prints docs/contract.schema.json: the JSON of a contract, from its types."""

from __future__ import annotations

import json

from oneway.config import JsonSchema
from oneway.report.schema import schema_of
from oneway.shipping import contract


def contract_schema() -> JsonSchema:
    """Describe contract.json, with what docstrings say of each field."""
    return schema_of(contract.Contract, "contract.json of oneway", [contract])


if __name__ == "__main__":
    print(json.dumps(contract_schema(), indent=1))
