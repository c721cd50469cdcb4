"""Pictures for training: where they come from (source), their labels, and batches of them (dataset)."""

from facegan.data.dataset import DataConfig, Dataset, open_dataset

__all__ = ["DataConfig", "Dataset", "open_dataset"]
