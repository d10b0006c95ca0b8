"""The forest file: an Isolation Forest as flat arrays in safetensors, so that no pickle is ever opened to serve it.

Every node of every tree has one place in four parallel arrays. The two children of a node stand side by side and
after it (``child`` and ``child + 1``), so a walk always moves forward and must end.

===========  =======  ==============  =====================================================================
array        dtype    shape           meaning
===========  =======  ==============  =====================================================================
threshold    float32  (n_nodes,)      go left if ``float32(x[feature]) <= threshold``; 0 in a leaf
feature      int32    (n_nodes,)      the column that a node looks at; -1 marks a leaf
child        int32    (n_nodes,)      the left child; the right one is the next node; 0 in a leaf
leaf_value   float64  (n_nodes,)      path length that a row ending here gets from this tree; 0 elsewhere
root         int32    (n_trees,)      the root of each tree
===========  =======  ==============  =====================================================================

With ``depth`` the sum of a row's leaf values over the trees, in their order, the decision function is
``-(2 ** (-depth / normalizer)) - offset`` (Liu, Ting and Zhou, "Isolation Forest", 2008, eq. 2, as scikit-learn
shifts it), and with ``normalizer`` 0 (a model of one record) the exponent is -1.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from contract.digests import check_digest
from contract.errors import CorruptArtifact

FORMAT = "telltale-forest"
FORMAT_VERSION = 1
LARGEST_FILE = 1 << 30
_LARGEST_HEADER = 1 << 20
_DTYPES = {
    "threshold": "float32",
    "feature": "int32",
    "child": "int32",
    "leaf_value": "float64",
    "root": "int32",
}


class _Metadata(msgspec.Struct):
    feature_names: tuple[str, ...]
    offset: float
    normalizer: float
    training_digest: str
    libraries: dict[str, str]


@dataclass(frozen=True)
class Forest:
    """An Isolation Forest as arrays (see the module) and the numbers that turn path lengths into scores.

    Args:
        threshold, feature, child, leaf_value, root: the arrays, shapes as in the module's table.
        feature_names: the model's signature, one for each column.
        offset: subtracted from the score, so that anomalous rows are below 0.
        normalizer: number of trees times the average path length of a tree's sample.
        training_digest: digest of the training rows.
        libraries: name to version of what trained it.

    """

    threshold: NDArray[np.float32]
    feature: NDArray[np.int32]
    child: NDArray[np.int32]
    leaf_value: NDArray[np.float64]
    root: NDArray[np.int32]
    feature_names: tuple[str, ...]
    offset: float
    normalizer: float
    training_digest: str
    libraries: dict[str, str] = field(default_factory=dict)

    @property
    def n_features(self) -> int:
        """Number of columns that a row must have."""
        return len(self.feature_names)

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return len(self.root)

    @property
    def nbytes(self) -> int:
        """Memory that the arrays take, in bytes."""
        return sum(getattr(self, name).nbytes for name in _DTYPES)


def encode_forest(forest: Forest) -> bytes:
    """Return the forest file; the same forest always gives the same bytes."""
    document = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "feature_names": list(forest.feature_names),
        "offset": forest.offset,
        "normalizer": forest.normalizer,
        "training_digest": forest.training_digest,
        "libraries": dict(sorted(forest.libraries.items())),
    }
    # One metadata entry, because safetensors writes several in no fixed order and the digest must not depend on it.
    arrays = {name: np.ascontiguousarray(getattr(forest, name), dtype=dtype) for name, dtype in _DTYPES.items()}
    return save(arrays, metadata={"telltale": json.dumps(document, sort_keys=True)})


def decode_forest(data: bytes, *, digest: str) -> Forest:
    """Return the forest in ``data`` after checking its digest, format and structure; nothing is walked before.

    Raises:
        CorruptArtifact: the digest differs, or the file is not a forest that is safe to walk.

    """
    if len(data) > LARGEST_FILE:
        raise CorruptArtifact(f"the forest file has {len(data)} bytes; the limit is {LARGEST_FILE}")
    check_digest(data, digest, "the forest file")
    document = _document(data)
    try:
        arrays = load(data)
    except SafetensorError as refusal:
        raise CorruptArtifact(f"the forest file is not readable as safetensors: {refusal}") from refusal
    except KeyError as kind:
        raise CorruptArtifact(f"the forest file has an array of a type that numpy does not have: {kind}") from kind
    for name, dtype in _DTYPES.items():
        if name not in arrays or arrays[name].dtype != dtype or arrays[name].ndim != 1:
            raise CorruptArtifact(f"the forest file must have a one-dimensional array {name} of {dtype}")
    metadata = _metadata(document)
    forest = Forest(
        **{name: arrays[name] for name in _DTYPES},
        feature_names=metadata.feature_names,
        offset=metadata.offset,
        normalizer=metadata.normalizer,
        training_digest=metadata.training_digest,
        libraries=metadata.libraries,
    )
    check_structure(forest)
    _require(
        (
            # Far below 0 path lengths would make scores infinite, which JSON cannot say.
            (bool(np.all(forest.leaf_value >= 0)), "a leaf's path length is below 0"),
            (_is_of_trees(forest), "two nodes or trees share a node"),
        )
    )
    return forest


def _metadata(document: dict[str, Any]) -> _Metadata:
    """Return what our entry of the header says, each value of its kind and writable as JSON again."""
    try:
        metadata = msgspec.convert(document, _Metadata)
        msgspec.json.encode(metadata)  # names come back in answers, and not all that JSON can escape is Unicode
    except (msgspec.ValidationError, OverflowError, UnicodeEncodeError) as lack:
        raise CorruptArtifact(f"the forest file's metadata is incomplete: {lack}") from lack
    return metadata


def _is_of_trees(forest: Forest) -> bool:
    """Tell whether every node is the child of one node at most, or the root of one tree; all are within range."""
    left = forest.child[forest.feature >= 0]
    seen = np.zeros(len(forest.feature), np.uint8)
    for places in (left, left + 1, forest.root):
        if len(places) and (seen[places].any() or np.bincount(places).max() > 1):
            return False
        seen[places] = 1
    return True


def _document(data: bytes) -> dict[str, Any]:
    """Return our entry of the safetensors header, having checked the header's length and the format's version."""
    length = int.from_bytes(data[:8], "little") if len(data) >= 8 else -1
    if not 0 < length <= min(_LARGEST_HEADER, len(data) - 8):
        raise CorruptArtifact(f"the forest file's header claims {length} bytes of a file of {len(data)}")
    try:
        header = json.loads(data[8 : 8 + length])
        document = json.loads(header["__metadata__"]["telltale"])
        written_as, version = document["format"], document["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as lack:
        raise CorruptArtifact(f"the file is no Telltale forest file: {lack!r}") from lack
    if written_as != FORMAT:
        raise CorruptArtifact(f"the file's format is {written_as!r}, not {FORMAT!r}")
    if version != FORMAT_VERSION:
        raise CorruptArtifact(
            f"the forest file has format version {version}; this program reads {FORMAT_VERSION}: upgrade the reader"
        )
    return dict(document)


def check_structure(forest: Forest) -> None:
    """Refuse a forest that could not be walked safely or would give a score that is no number.

    Raises:
        CorruptArtifact: a child, root or feature is out of range, a child does not follow its parent (which also
            excludes cycles), or a number is not finite.

    """
    n_nodes = len(forest.feature)
    inner = forest.feature >= 0
    index = np.arange(n_nodes, dtype=np.int64)
    child = forest.child.astype(np.int64)
    checks = (
        (n_nodes > 0 and forest.n_trees > 0, "it has no tree"),
        (
            len(forest.threshold) == len(forest.child) == len(forest.leaf_value) == n_nodes,
            "its arrays differ in length",
        ),
        (forest.n_features > 0, "it names no feature"),
        (len(set(forest.feature_names)) == forest.n_features, "it names a feature twice"),
        (math.isfinite(forest.offset), "its offset is not finite"),
        (
            math.isfinite(forest.normalizer) and forest.normalizer >= 0,
            "its normalizer is not a number of at least 0",
        ),
    )
    _require(checks)
    structure = (
        (
            bool(np.all((forest.feature >= -1) & (forest.feature < forest.n_features))),
            "a feature is out of range",
        ),
        (bool(np.all((forest.root >= 0) & (forest.root < n_nodes))), "a root is out of range"),
        (bool(np.all(child[inner] > index[inner])), "a child does not come after its parent"),
        (bool(np.all(child[inner] + 1 < n_nodes)), "a child is out of range"),
        (bool(np.all(np.isfinite(forest.threshold))), "a threshold is not finite"),
        (bool(np.all(np.isfinite(forest.leaf_value))), "a leaf's value is not finite"),
    )
    _require(structure)


def _require(checks: tuple[tuple[bool, str], ...]) -> None:
    for holds, fault in checks:
        if not holds:
            raise CorruptArtifact(f"the forest file is damaged: {fault}")
