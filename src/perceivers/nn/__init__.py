"""Attention, multi-layer perceptrons and positions: the mathematics, free of any modality."""

from perceivers.nn.attention import Attention, attend, attention_weights
from perceivers.nn.layers import CrossAttention, LayerConfig, SelfAttention
from perceivers.nn.maps import AttentionCall, AttentionMaps, record_attention, record_calls
from perceivers.nn.mlp import MLP
from perceivers.nn.positions import (
    FourierPositionConfig,
    LearnedPositionConfig,
    PositionConfig,
    Positions,
    fourier_features,
    grid_positions,
)

__all__ = [
    "MLP",
    "Attention",
    "AttentionCall",
    "AttentionMaps",
    "CrossAttention",
    "FourierPositionConfig",
    "LayerConfig",
    "LearnedPositionConfig",
    "PositionConfig",
    "Positions",
    "SelfAttention",
    "attend",
    "attention_weights",
    "fourier_features",
    "grid_positions",
    "record_attention",
    "record_calls",
]
