"""Who is measured: this library and its peers."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from perceivers.benchmark.cases import Case


@dataclass(frozen=True, kw_only=True)
class Library:
    """A library that can be measured.

    Args:
        name: What users call it.
        package: The distribution that brings it.
        module: What is imported of it.
        maker: "module:function" that makes a `Run` of a `Case` with it; it is imported in the library's own process.
        workloads: What it can express; empty for all.
    """

    name: str
    package: str
    module: str
    maker: str
    workloads: tuple[str, ...] = ()

    @property
    def version(self) -> str | None:
        """The version that is installed, or `None`."""
        try:
            return version(self.package) if find_spec(self.module) is not None else None
        except PackageNotFoundError:
            return None

    def runs(self, case: Case) -> bool:
        """Return whether it can express `case`."""
        return not self.workloads or case.workload in self.workloads


OURS = Library(name="perceivers", package="perceivers", module="perceivers", maker="perceivers.benchmark.ours:make")

PEERS: Mapping[str, Library] = {
    peer.name: peer
    for peer in (
        Library(
            name="transformers",
            package="transformers",
            module="transformers",
            maker="perceivers.benchmark.peer_transformers:make",
        ),
        Library(
            name="perceiver-io",
            package="perceiver-io",
            module="perceiver",
            maker="perceivers.benchmark.peer_perceiver_io:make",
            workloads=(
                "flow",
                "fill-mask",
                "text",
                "image-fourier",
                "train-fourier",
                "train-text",
                "inputs",
                "latents",
            ),
        ),
        Library(
            name="perceiver-pytorch",
            package="perceiver-pytorch",
            module="perceiver_pytorch",
            maker="perceivers.benchmark.peer_perceiver_pytorch:make",
            workloads=("text", "image-fourier", "inputs", "latents"),
        ),
    )
}
