"""What counts scores. torchmetrics takes seconds to import, which only what scores should wait for."""

from perceivers.tasks.base import Metrics


def means(*names: str) -> Metrics:
    """Return a mean for each name, to be updated one by one."""
    from torchmetrics import MeanMetric, Metric, MetricCollection

    metrics: dict[str, Metric | MetricCollection] = {name: MeanMetric() for name in names}
    # Each is updated on its own, so that they cannot share a state.
    return MetricCollection(metrics, compute_groups=False)
