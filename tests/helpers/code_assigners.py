"""Modules that assign codes and return them in any form, and what a first batch shows of them."""

import torch
from torch import nn
from torch.nn import functional

from rankwatch.extraction.hooks.code_hooks import CodeHooks
from rankwatch.extraction.model.quantizers import find_quantizers
from rankwatch.monitor.codebook_collector import confirmed

V, D = 12, 16


class Assigner(nn.Module):
    """Assigns codes and returns them in some form; neither its class nor its table says so."""

    def __init__(self, form, trained=False):
        super().__init__()
        table = torch.randn(V, D)
        self.table = nn.Parameter(table) if trained else nn.Buffer(table)
        self.form = form

    def forward(self, x):
        codes = torch.cdist(x, self.table.expand(*x.shape[:-2], V, D)).argmin(-1)
        return self.form(codes, self.table)


def heard(module, *args):
    """What a training's first batch shows of the candidates in a model: (quantizer, its codes)."""
    hooks = CodeHooks(find_quantizers(nn.ModuleDict({"it": module})))
    hooks.listen()
    module(*args)
    hooks.stop()
    draws, _, failures = hooks.take()
    assert not failures
    calls = {one.name: draws.get(one.name, []) for one in hooks.quantizers}
    return [(one, torch.cat([call.codes for call in calls[one.name]])) for one in confirmed(hooks.quantizers, calls)]


FORMS = {
    "integers": lambda codes, table: codes,
    "one-hot": lambda codes, table: functional.one_hot(codes, V).float(),
    "one-hot integers": lambda codes, table: functional.one_hot(codes, V),
    "in a dict": lambda codes, table: {"x": table[codes], "targets": codes},
    "one-hot and vectors": lambda codes, table: (table[codes], functional.one_hot(codes, V).float()),
    "shares": lambda codes, table: (5.0 * functional.one_hot(codes, V)).softmax(-1),
}
