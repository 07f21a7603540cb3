"""Facts about the model: causal, rotary, fresh ones know nothing, tensors named as `LlamaForCausalLM` names them."""

from __future__ import annotations

import math

import torch

from node.training.model import Llama, initialise, rotary_table, rotate

from .builders import equal, model_spec


def fresh_model(seed: int = 0) -> Llama:
    model = Llama(model_spec())
    initialise(model, seed)
    return model


def random_tokens(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(1))


def test_a_byte_is_predicted_from_earlier_bytes_only() -> None:
    model = fresh_model()
    tokens = random_tokens(1, 16)
    changed = tokens.clone()
    changed[0, 9] = (changed[0, 9] + 1) % 256
    before, after = model(tokens), model(changed)
    assert torch.equal(before[0, :9], after[0, :9])
    assert not torch.allclose(before[0, 9:], after[0, 9:])


def test_a_fresh_model_finds_all_bytes_about_equally_likely() -> None:
    loss = fresh_model().loss(random_tokens(8, 17)).item()
    assert abs(loss - math.log(256)) < 0.05


def test_initial_parameters_are_a_function_of_the_seed() -> None:
    parameters = fresh_model(seed=3).state_dict()
    torch.manual_seed(99)  # the process-wide generator has no say
    assert equal(fresh_model(seed=3).state_dict(), parameters)
    assert not equal(fresh_model(seed=4).state_dict(), parameters)


def test_rotation_makes_attention_depend_on_distance_alone() -> None:
    cos, sin = rotary_table(model_spec(max_position_embeddings=64))
    query, key = torch.randn(2, 8, generator=torch.Generator().manual_seed(2))

    def score(query_at: int, key_at: int) -> float:
        turned = [rotate(x, cos[at], sin[at]) for x, at in ((query, query_at), (key, key_at))]
        return (turned[0] * turned[1]).sum().item()

    assert math.isclose(score(5, 2), score(60, 57), abs_tol=1e-5)
    assert not math.isclose(score(5, 2), score(5, 3), abs_tol=1e-3)


def test_tensors_are_those_of_llama_with_tied_embeddings() -> None:
    layer = [
        "input_layernorm.weight",
        "mlp.down_proj.weight",
        "mlp.gate_proj.weight",
        "mlp.up_proj.weight",
        "post_attention_layernorm.weight",
        "self_attn.k_proj.weight",
        "self_attn.o_proj.weight",
        "self_attn.q_proj.weight",
        "self_attn.v_proj.weight",
    ]
    expected = ["model.embed_tokens.weight", "model.norm.weight"]
    expected += [f"model.layers.{i}.{name}" for i in range(2) for name in layer]
    assert sorted(fresh_model().state_dict()) == sorted(expected)


def test_parameter_count_follows_from_the_specification() -> None:
    width, hidden, layers = 16, 24, 2
    per_layer = 4 * width**2 + 3 * width * hidden + 2 * width
    count = sum(parameter.numel() for parameter in fresh_model().parameters())
    assert count == 256 * width + layers * per_layer + width
