"""The bill of materials of a bundle (CycloneDX): its models and files by hash, what it was trained on, what runs it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from oneway.errors import InputError
from oneway.shipping.contract import ATTACKER, DEVICE, SERVER, Contract

MODELS = {
    DEVICE: "from a picture to the numbers that are sent, without noise",
    SERVER: "from these to decisions",
    ATTACKER: "from these to what an attacker draws of them",
}
LIBRARIES = ("numpy", "pillow", "onnxruntime")
"""Of which the client is made, in the versions that the bundle was checked with."""


def bill(contract: Contract, name: str, files: Mapping[str, str]) -> str:
    """Write the bill of materials of a bundle as JSON.

    Args:
        contract: of the bundle.
        name: of the bundle.
        files: the sha256 of each of its files so far.

    Raises:
        InputError: if the library that writes it is not installed.

    """
    try:
        from cyclonedx.model import HashAlgorithm, HashType, Property
        from cyclonedx.model.bom import Bom
        from cyclonedx.model.component import Component, ComponentType
        from cyclonedx.output.json import JsonV1Dot6
        from packageurl import PackageURL
    except ImportError as error:
        raise InputError(
            "a bundle's bill of materials needs cyclonedx-python-lib; install oneway[export] as `oneway doctor` says"
        ) from error

    def hashed(sha256: str) -> list[HashType]:
        return [HashType(alg=HashAlgorithm.SHA_256, content=sha256)]

    whole = Component(name=name, type=ComponentType.APPLICATION, bom_ref="bundle", version=contract.oneway)
    bom = Bom()
    bom.metadata.component = whole
    parts = [
        Component(
            name=file,
            type=ComponentType.MACHINE_LEARNING_MODEL if file in MODELS else ComponentType.FILE,
            bom_ref=file,
            description=MODELS.get(file),
            hashes=hashed(sha256),
            properties=[Property(name="oneway:task", value=", ".join(each.name for each in contract.columns))]
            if file in MODELS
            else None,
        )
        for file, sha256 in files.items()
    ]
    trained = contract.training
    people = f"{trained.pictures} pictures of at most {trained.people} people; the bundle holds none of them"
    parts.append(
        Component(
            name=trained.pack,
            type=ComponentType.DATA,
            bom_ref="training data",
            description=people,
            hashes=hashed(trained.hash),
        )
    )
    parts += [
        Component(
            name=each,
            type=ComponentType.LIBRARY,
            bom_ref=each,
            version=version(each),
            purl=PackageURL("pypi", None, each, version(each)),
        )
        for each in LIBRARIES
    ]
    bom.components.update(parts)
    bom.register_dependency(whole, parts)
    return JsonV1Dot6(bom).output_as_string(indent=2)
