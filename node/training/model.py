"""The model that jobs train: a Llama-style decoder whose tokens are bytes.

Notable choices
- RMSNorm before each block (arXiv:1910.07467), rotary positions (2104.09864), SwiGLU (2002.05202), no biases.
- Input and output embedding are one matrix (1608.05859): at this size it is a third of the parameters.
- Tensors carry the names of Hugging Face's `LlamaForCausalLM`, so a checkpoint opens there too.
- Own code, because `transformers` costs 196 MB and 6 s of import per worker and a quarter more time per step.

Not here: optimisers, data, files. Shapes: B sequences of T bytes, width D, H heads of K = D / H, vocabulary V.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  # torch's own custom
from torch import Tensor, nn

from protocol.messages import ModelSpec

RMS_NORM_EPSILON = 1e-6  # transformers' LlamaConfig default
INITIAL_STD = 0.02  # GPT-2's and Llama's; with tied embeddings the first logits are nearly uniform


class RMSNorm(nn.Module):
    """x divided by its root mean square over the last dimension, times a learnt gain."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, RMS_NORM_EPSILON)


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        width = spec.hidden_size
        self.heads = spec.num_attention_heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, time, width = x.shape
        by_head = (batch, time, self.heads, width // self.heads)  # (B, T, H, K)
        q = rotate(self.q_proj(x).view(by_head), cos, sin).transpose(1, 2)  # (B, H, T, K)
        k = rotate(self.k_proj(x).view(by_head), cos, sin).transpose(1, 2)
        v = self.v_proj(x).view(by_head).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)  # (B, T, H, K)
        out: Tensor = self.o_proj(y.reshape(x.shape))
        return out


class MLP(nn.Module):
    """SwiGLU: one projection gates the other."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(spec.hidden_size, spec.intermediate_size, bias=False)
        self.up_proj = nn.Linear(spec.hidden_size, spec.intermediate_size, bias=False)
        self.down_proj = nn.Linear(spec.intermediate_size, spec.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class Layer(nn.Module):
    """Attention, then MLP, each normalised first and added back."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(spec.hidden_size)
        self.self_attn = Attention(spec)
        self.post_attention_layernorm = RMSNorm(spec.hidden_size)
        self.mlp = MLP(spec)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        x = x + self.mlp(self.post_attention_layernorm(x))
        return x  # noqa: RET504  # `x` has a type, what a module returns has none


class Decoder(nn.Module):
    """Bytes in, hidden states out."""

    cos: Tensor
    sin: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(spec.vocab_size, spec.hidden_size)
        self.layers = nn.ModuleList(Layer(spec) for _ in range(spec.num_hidden_layers))
        self.norm = RMSNorm(spec.hidden_size)
        cos, sin = rotary_table(spec)
        self.register_buffer("cos", cos, persistent=False)  # (T, 1, K): a function of the specification, so never saved
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        cos, sin = self.cos[: tokens.shape[1]], self.sin[: tokens.shape[1]]
        x = self.embed_tokens(tokens)  # (B, T, D)
        for layer in self.layers:
            x = layer(x, cos, sin)
        out: Tensor = self.norm(x)
        return out


class Llama(nn.Module):
    """Tokens (B, T) in, next-token logits (B, T, V) out; T at most `max_position_embeddings`."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.model = Decoder(spec)

    def forward(self, tokens: Tensor) -> Tensor:
        return F.linear(self.model(tokens), self.model.embed_tokens.weight)

    def loss(self, tokens: Tensor) -> Tensor:
        """Mean nats per token when (B, T + 1) `tokens` are predicted from their predecessors."""
        logits = self(tokens[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def rotary_table(spec: ModelSpec) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (T, 1, K), of position times frequency; the sign of `rotate` is folded into the sines."""
    half = spec.hidden_size // spec.num_attention_heads // 2
    frequency = spec.rope_theta ** -(torch.arange(half) / half)
    angle = torch.outer(torch.arange(spec.max_position_embeddings), frequency)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((cos, cos), 1)[:, None], torch.cat((-sin, sin), 1)[:, None]


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x[i], x[i + K/2]) of (B, T, H, K) by its position's angle."""
    return x * cos + torch.roll(x, x.shape[-1] // 2, -1) * sin


def initialise(model: Llama, seed: int) -> None:
    """Draw the matrices from a normal distribution; the gains stay 1. A function of `seed` on one torch build."""
    generator = torch.Generator().manual_seed(seed)
    residual_std = INITIAL_STD / (2 * model.spec.num_hidden_layers) ** 0.5  # GPT-2: the residual stream keeps its scale
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                std = residual_std if name.endswith(("o_proj.weight", "down_proj.weight")) else INITIAL_STD
                parameter.normal_(0.0, std, generator=generator)
