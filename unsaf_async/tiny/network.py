"""A LLaVA (CLIP tower, projector, Llama) in numpy: forward passes only, float32, with a key-value cache.

It reads the folder that Hugging Face's `save_pretrained` writes, and computes what transformers computes there; the
models are so small that a runtime of their own would take longer to load than they take to answer.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file

if TYPE_CHECKING:
    from pathlib import Path

Floats = NDArray[Any]
"""float32. Their operations have the type Any in numpy's stubs."""
Ints = NDArray[np.int64]


@dataclass
class Cache:
    """Keys and values of every layer, of several sequences."""

    keys: Floats
    """[layers, rows, heads, tokens, head size]."""
    values: Floats
    """[layers, rows, heads, tokens, head size]."""
    lengths: Ints
    """Tokens in use, by row."""

    @property
    def rows(self) -> int:
        """How many sequences there is room for."""
        return len(self.lengths)

    def reserve(self, tokens: int) -> None:
        """Makes room for tokens in every row.

        Args:
            tokens: How many each row must be able to hold.
        """
        short = tokens - self.keys.shape[3]
        if short > 0:
            room = [(0, 0), (0, 0), (0, 0), (0, -(-short // 64) * 64), (0, 0)]
            self.keys, self.values = np.pad(self.keys, room), np.pad(self.values, room)

    def move(self, row: int, to: int) -> None:
        """Copies a row over another one.

        Args:
            row: Which sequence is copied.
            to: The row that it goes to.
        """
        used = int(self.lengths[row])
        self.keys[:, to, :, :used] = self.keys[:, row, :, :used]
        self.values[:, to, :, :used] = self.values[:, row, :, :used]
        self.lengths[to] = used


class Network:
    """The weights of one model folder, and the passes through them."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        text, vision = config["text_config"], config["vision_config"]
        self.context_tokens: int = text["max_position_embeddings"]
        self.layers: int = text["num_hidden_layers"]
        self.heads: int = text["num_attention_heads"]
        self.head_size: int = text["head_dim"]
        self.image_px: int = vision["image_size"]
        self.patch_px: int = vision["patch_size"]
        self.patches = (self.image_px // self.patch_px) ** 2
        self._vision_layers: int = vision["num_hidden_layers"]
        self._vision_heads: int = vision["num_attention_heads"]
        self._epsilon = np.float32(text["rms_norm_eps"])
        pixels = json.loads((folder / "processor_config.json").read_text("utf-8"))["image_processor"]
        self._mean, self._std = (np.float32(pixels[name][0]) for name in ("image_mean", "image_std"))
        stored = load_file(folder / "model.safetensors")
        self._weights = {
            name.replace("vision_tower.vision_model.", "vision_tower."): weight.astype(np.float32)
            for name, weight in stored.items()
        }
        self._rotation = _rotation(self.context_tokens, self.head_size, text["rope_parameters"]["rope_theta"])

    # --- the picture ------------------------------------------------------------------------------------------------

    def pixels(self, data: bytes) -> Floats:
        """An encoded picture as the tower's input; one of another size is resized (bicubic).

        Args:
            data: The encoded image.

        Returns:
            [3, side, side], normalised.
        """
        with Image.open(BytesIO(data)) as opened:
            picture = opened.convert("RGB")
        side = self.image_px
        if picture.size != (side, side):
            picture = picture.resize((side, side), Image.Resampling.BICUBIC)
        scaled = np.asarray(picture, np.float32) * np.float32(1 / 255)
        return ((scaled - self._mean) / self._std).transpose(2, 0, 1)

    def see(self, pixels: Floats) -> Floats:
        """The embeddings of pictures' patches.

        Args:
            pixels: [n, 3, side, side].

        Returns:
            [n, patches, hidden].
        """
        count, patch = len(pixels), self.patch_px
        along = self.image_px // patch
        cut = pixels.reshape(count, 3, along, patch, along, patch).transpose(0, 2, 4, 1, 3, 5)
        kernel = self._weights["vision_tower.embeddings.patch_embedding.weight"]
        seen = cut.reshape(count, self.patches, -1) @ kernel.reshape(len(kernel), -1).T
        first = np.broadcast_to(self._weights["vision_tower.embeddings.class_embedding"], (count, 1, len(kernel)))
        x = np.concatenate([first, seen], 1) + self._weights["vision_tower.embeddings.position_embedding.weight"]
        x = self._layer_norm(x, "vision_tower.pre_layrnorm")
        for layer in range(self._vision_layers):
            at = f"vision_tower.encoder.layers.{layer}."
            x = x + self._look_around(self._layer_norm(x, at + "layer_norm1"), at + "self_attn.")
            x = x + self._linear(
                _gelu(self._linear(self._layer_norm(x, at + "layer_norm2"), at + "mlp.fc1")), at + "mlp.fc2"
            )
        hidden = _gelu(self._linear(x[:, 1:], "multi_modal_projector.linear_1"))
        return self._linear(hidden, "multi_modal_projector.linear_2")

    def _look_around(self, x: Floats, at: str) -> Floats:
        count, tokens, width = x.shape
        heads = self._vision_heads
        query, key, value = (
            self._linear(x, f"{at}{name}_proj").reshape(count, tokens, heads, -1).transpose(0, 2, 1, 3)
            for name in "qkv"
        )
        weight = _softmax(query @ key.transpose(0, 1, 3, 2) * np.float32((width // heads) ** -0.5))
        return self._linear((weight @ value).transpose(0, 2, 1, 3).reshape(count, tokens, width), at + "out_proj")

    # --- the words --------------------------------------------------------------------------------------------------

    def embed(self, ids: Ints) -> Floats:
        """The embeddings of tokens.

        Args:
            ids: Token ids, of any shape.

        Returns:
            [..., hidden].
        """
        return self._weights["language_model.model.embed_tokens.weight"][ids]

    def cache(self, rows: int) -> Cache:
        """An empty cache, which grows with what it holds.

        Args:
            rows: How many sequences there is room for.

        Returns:
            The cache.
        """
        shape = (self.layers, rows, self.heads, 0, self.head_size)
        return Cache(np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(rows, np.int64))

    def extend(self, cache: Cache, first: int, x: Floats, counts: Ints) -> Floats:
        """Feeds embeddings to some rows of the cache, after the tokens that these hold.

        Args:
            cache: Keys and values so far; it is extended in place.
            first: The first of the n rows.
            x: Embeddings, [n, tokens, hidden].
            counts: How many of the tokens each row really has, [n]; the rest is padding.

        Returns:
            The logits after each row's last real token, [n, vocabulary].
        """
        rows, tokens = x.shape[:2]
        here = slice(first, first + rows)
        starts = cache.lengths[here]
        positions = starts[:, None] + np.arange(tokens)
        reach = int(starts.max()) + tokens
        visible = (
            np.arange(reach) <= positions[..., None]
        )  # [rows, tokens, reach]; what is behind is padding or another's
        cosine, sine = (table[np.minimum(positions, self.context_tokens - 1)][:, None] for table in self._rotation)
        each = np.arange(rows)
        for layer in range(self.layers):
            at = f"language_model.model.layers.{layer}."
            normed = self._rms_norm(x, at + "input_layernorm")
            query, key, value = (
                (normed @ self._weights[f"{at}self_attn.{name}_proj.weight"].T)
                .reshape(rows, tokens, self.heads, self.head_size)
                .transpose(0, 2, 1, 3)
                for name in "qkv"
            )
            query, key = _rotate(query, cosine, sine), _rotate(key, cosine, sine)
            keys, values = cache.keys[layer, here], cache.values[layer, here]
            if tokens == 1:
                keys[each, :, starts], values[each, :, starts] = key[:, :, 0], value[:, :, 0]
            else:
                for row, start in enumerate(starts):
                    keys[row, :, start : start + tokens] = key[row]
                    values[row, :, start : start + tokens] = value[row]
            scores = query @ keys[:, :, :reach].transpose(0, 1, 3, 2) * np.float32(self.head_size**-0.5)
            weight = _softmax(np.where(visible[:, None], scores, np.float32(-np.inf)))
            mixed = (weight @ values[:, :, :reach]).transpose(0, 2, 1, 3).reshape(rows, tokens, -1)
            x = x + mixed @ self._weights[at + "self_attn.o_proj.weight"].T
            normed = self._rms_norm(x, at + "post_attention_layernorm")
            gate = normed @ self._weights[at + "mlp.gate_proj.weight"].T
            up = normed @ self._weights[at + "mlp.up_proj.weight"].T
            x = x + (gate / (1 + np.exp(-gate)) * up) @ self._weights[at + "mlp.down_proj.weight"].T
        cache.lengths[here] += counts
        last = x[each, counts - 1]
        return (
            self._rms_norm(last, "language_model.model.norm")
            @ self._weights["language_model.model.embed_tokens.weight"].T
        )

    # --- parts --------------------------------------------------------------------------------------------------------

    def _linear(self, x: Floats, name: str) -> Floats:
        return x @ self._weights[name + ".weight"].T + self._weights[name + ".bias"]

    def _layer_norm(self, x: Floats, name: str) -> Floats:
        centred = x - x.mean(-1, keepdims=True)
        scale = 1 / np.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(1e-5))
        return centred * scale * self._weights[name + ".weight"] + self._weights[name + ".bias"]

    def _rms_norm(self, x: Floats, name: str) -> Floats:
        scale = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + self._epsilon)
        return x * scale * self._weights[name + ".weight"]


def _gelu(x: Floats) -> Floats:
    return x * np.float32(0.5) * (1 + erf(x * np.float32(2**-0.5)))


_STEPS = 4096
"""Of `erf`'s table to 1: between two entries a straight line is off by 7e-9, a tenth of what single precision tells apart."""
_EXACT = np.array([math.erf(step / _STEPS) for step in range(4 * _STEPS + 2)])  # at 4 it is 1, in single precision
_ERF, _RISES = _EXACT.astype(np.float32), np.diff(_EXACT).astype(np.float32)


def erf(x: Floats) -> Floats:
    """The error function, as near as single precision has it; numpy has none.

    Args:
        x: Single precision, of any shape.

    Returns:
        Of the same shape, in [-1, 1].
    """
    at = np.minimum(np.abs(x) * np.float32(_STEPS), np.float32(4 * _STEPS))
    step = at.astype(np.int32)
    return np.copysign(_ERF[step] + (at - step.astype(np.float32)) * _RISES[step], x)


def _softmax(scores: Floats) -> Floats:
    raised = np.exp(scores - scores.max(-1, keepdims=True))
    return raised / raised.sum(-1, keepdims=True)


def _rotation(positions: int, size: int, theta: float) -> tuple[Floats, Floats]:
    """Cosines and sines of the rotary position embedding [positions, head size]."""
    turns = np.arange(positions)[:, None] / theta ** (np.arange(0, size, 2) / size)
    turns = np.concatenate([turns, turns], 1)
    return np.cos(turns).astype(np.float32), np.sin(turns).astype(np.float32)


def _rotate(x: Floats, cosine: Floats, sine: Floats) -> Floats:
    half = x.shape[-1] // 2
    return x * cosine + np.concatenate([-x[..., half:], x[..., :half]], -1) * sine
