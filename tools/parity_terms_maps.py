"""Distillation losses on maps (at, sp, nst, fsp, ab, ft, norm, fitnet), from their formulas in
double precision."""

import torch
import torch.nn.functional as F
from torch import nn

F64 = torch.float64


def pooled(x, y):
    """Both on the smaller grid."""
    side = (min(x.shape[2], y.shape[2]), min(x.shape[3], y.shape[3]))
    return F.adaptive_avg_pool2d(x, side), F.adaptive_avg_pool2d(y, side)


def unit(x, dim):
    return x / x.square().sum(dim, keepdim=True).sqrt().clamp_min(1e-12)


def similarity_preserving(student, teacher):
    def rows(maps):
        return unit(torch.einsum("ichw,jchw->ij", maps, maps), 1)

    return (rows(student) - rows(teacher)).square().sum() / student.shape[0] ** 2


def neuron_selectivity(student, teacher):
    """Kernel by kernel, for each image and pair of channels."""

    def kernel(xs, ys):
        return torch.stack([(x * y).sum() ** 2 for x in xs for y in ys]).mean()

    losses = []
    for x, y in zip(*pooled(student, teacher)):
        x, y = unit(x.flatten(1), 1), unit(y.flatten(1), 1)
        losses.append(kernel(y, y) + kernel(x, x) - 2 * kernel(x, y))
    return torch.stack(losses).mean()


def flows(student, teacher):
    def flow(shallow, deep):
        shallow, deep = pooled(shallow, deep)
        return torch.einsum("bihw,bjhw->bij", shallow, deep) / shallow[0, 0].numel()

    return sum(F.mse_loss(flow(*s), flow(*t)) for s, t in
               zip(zip(student, student[1:]), zip(teacher, teacher[1:])))


def boundaries(student, teacher):
    total = 0.0
    for level, (s, t) in enumerate(zip(student, teacher)):
        off, on = (t <= 0) & (s > -1), (t > 0) & (s <= 1)
        loss = ((s + 1) ** 2)[off].sum() + ((s - 1) ** 2)[on].sum()
        total = total + loss * 2.0 ** (level - len(student) + 1) * 3 / 1000 / s.shape[0]
    return total


def difference_of_attention(student, teacher):
    student, teacher = (unit(x.square().mean(1).flatten(1), 1) for x in pooled(student, teacher))
    return student - teacher


def factors(student, teacher):
    return difference_of_attention(student, teacher).abs().mean()


def attentions(student, teacher):
    return difference_of_attention(student, teacher).square().mean()


def n_to_one(student, teacher):
    """Copy by copy: NORM's sum over the N groups of channels, each against the teacher."""
    def at_most(x, side):
        return F.max_pool2d(x, x.shape[2] // side) if x.shape[2] > side else x

    side = min(student.shape[2], teacher.shape[2])
    student, teacher = at_most(student, side), at_most(teacher, side)
    return sum(F.mse_loss(part, teacher) for part in student.split(teacher.shape[1], 1))


# Batch, then student and teacher: equal sizes, others, other channel counts, grids that do not
# divide, more channels than positions and fewer.
PAIRS = [
    (4, (3, 8, 8), (3, 8, 8)),
    (7, (5, 6, 6), (8, 6, 6)),
    (6, (5, 8, 8), (7, 4, 4)),
    (3, (12, 3, 3), (20, 5, 5)),
    (5, (4, 7, 7), (9, 5, 5)),
    (3, (24, 2, 2), (3, 2, 2)),
    (1, (6, 5, 3), (4, 5, 3)),
]
N_TO_ONE = [
    (4, (24, 4, 4), (6, 4, 4)),
    (3, (10, 4, 4), (5, 8, 8)),
    (2, (9, 6, 6), (9, 6, 6)),
    (3, (16, 9, 6), (2, 3, 2)),
]
# Batch, then the student's levels and the teacher's; levels correspond.
FLOWS = [
    (4, [(5, 16, 16), (5, 8, 8)], [(5, 16, 16), (5, 8, 8)]),
    (3, [(4, 8, 8), (6, 4, 4), (9, 2, 2)], [(4, 12, 12), (6, 6, 6), (9, 3, 3)]),
    (5, [(6, 5, 5), (3, 5, 5), (8, 7, 7), (2, 1, 1)], [(6, 9, 9), (3, 4, 4), (8, 4, 4), (2, 3, 3)]),
]
BOUNDARIES = [
    (4, [(3, 8, 8)]),
    (3, [(3, 8, 8), (5, 4, 4)]),
    (7, [(4, 6, 6), (9, 5, 5), (2, 3, 3), (16, 1, 1)]),
]


class Regressor(nn.Module):
    """Convolution of these settings, and batch norm."""

    def __init__(self, conv):
        super().__init__()
        self.conv, self.norm = conv, nn.BatchNorm2d(conv.out_channels)

    def forward(self, x):
        return self.norm(self.conv(x))


def paraphraser_and_translator(student, teacher, width):
    def encoder(channels, norm):
        layers = []
        for source, target in ((channels, channels), (channels, width), (width, width)):
            layers += [nn.Conv2d(source, target, 3, padding=1)]
            layers += [nn.BatchNorm2d(target)] if norm else []
            layers += [nn.LeakyReLU(0.1)]
        return nn.Sequential(*layers)

    decoder = []
    for source, target in ((width, width), (width, teacher), (teacher, teacher)):
        decoder += [nn.ConvTranspose2d(source, target, 3, padding=1), nn.LeakyReLU(0.1)]
    return nn.ModuleDict(dict(encoder=encoder(teacher, False), decoder=nn.Sequential(*decoder),
                              translator=encoder(student, True)))


def make_terms_maps(out, tools):
    tensors, facts = {}, dict(pairs=len(PAIRS), norm=len(N_TO_ONE), flows=[], boundaries=[])

    def leaf(*shape, seed):
        return (1.5 * tools.randn(*shape, seed=seed, dtype=F64)).requires_grad_()

    def record(name, loss, **leaves):
        for leaf_name, grad in zip(leaves, torch.autograd.grad(loss, list(leaves.values()))):
            tensors[f"{name}/grad_{leaf_name}"] = grad
            tensors[f"{name}/{leaf_name}"] = leaves[leaf_name]
        tensors[f"{name}/value"] = loss

    def record_levels(name, loss, student, teacher):
        record(name, loss(student, teacher), **{f"student_{i}": s for i, s in enumerate(student)})
        tensors.update({f"{name}/teacher_{i}": t for i, t in enumerate(teacher)})
        return len(student)

    def record_module(name, loss, module):
        """The gradients of those parameters that take part."""
        names, parameters = zip(*module.named_parameters())
        grads = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        tensors.update({f"{name}/grad/{n}": g for n, g in zip(names, grads) if g is not None})
        tensors[f"{name}/value"] = loss

    for i, (batch, s, t) in enumerate(PAIRS):
        student = leaf(batch, *s, seed=1000 + i)
        teacher = tools.randn(batch, *t, seed=1050 + i, dtype=F64)
        for name, loss in (("at", attentions), ("sp", similarity_preserving),
                           ("nst", neuron_selectivity), ("ft", factors)):
            record(f"{name}_{i}", loss(student, teacher), student=student)
            tensors[f"{name}_{i}/teacher"] = teacher

    for i, (batch, s, t) in enumerate(N_TO_ONE):
        student = leaf(batch, *s, seed=1070 + i)
        teacher = tools.randn(batch, *t, seed=1080 + i, dtype=F64)
        record(f"norm_{i}", n_to_one(student, teacher), student=student)
        tensors[f"norm_{i}/teacher"] = teacher

    for i, (batch, s, t) in enumerate(FLOWS):
        student = [leaf(batch, *shape, seed=1100 + 10 * i + n) for n, shape in enumerate(s)]
        teacher = [tools.randn(batch, *shape, seed=1150 + 10 * i + n, dtype=F64)
                   for n, shape in enumerate(t)]
        facts["flows"].append(record_levels(f"fsp_{i}", flows, student, teacher))

    for i, (batch, shapes) in enumerate(BOUNDARIES):
        student = [leaf(batch, *shape, seed=1200 + 10 * i + n) for n, shape in enumerate(shapes)]
        teacher = [tools.randn(batch, *shape, seed=1250 + 10 * i + n, dtype=F64)
                   for n, shape in enumerate(shapes)]
        facts["boundaries"].append(record_levels(f"ab_{i}", boundaries, student, teacher))

    # The whole terms, with what they train.
    def module_of(module, seed):
        for n, parameter in enumerate(module.parameters()):
            parameter.data = 0.3 * tools.randn(*parameter.shape, seed=seed + n, dtype=F64)
        return module.to(F64).train()

    student = [leaf(5, *shape, seed=1300 + i)
               for i, shape in enumerate([(3, 8, 8), (4, 8, 8), (6, 2, 2), (5, 6, 6)])]
    teacher = [tools.randn(5, *shape, seed=1310 + i, dtype=F64)
               for i, shape in enumerate([(3, 8, 8), (7, 4, 4), (9, 4, 4), (4, 4, 4)])]
    connectors = module_of(nn.ModuleDict(dict(
        connector_1=Regressor(nn.Conv2d(4, 7, 3, stride=2, padding=1)),
        connector_2=Regressor(nn.ConvTranspose2d(6, 9, 4, stride=2, padding=1)),
        connector_3=Regressor(nn.Conv2d(5, 4, 3)))), 1320)
    tensors.update({f"ab_term/weights/{n}": t.clone() for n, t in connectors.state_dict().items()})
    matched = [student[0], *(connectors[f"connector_{i}"](student[i]) for i in (1, 2, 3))]
    loss = boundaries(matched, teacher)
    record_module("ab_term", loss, connectors)
    record_levels("ab_term", lambda *_: loss, student, teacher)

    # FitNet: half the size, twice, and two pixels less; after the ReLU.
    student = [leaf(5, *shape, seed=1500 + i)
               for i, shape in enumerate([(3, 8, 8), (4, 3, 3), (6, 7, 7)])]
    teacher = [tools.randn(5, *shape, seed=1510 + i, dtype=F64)
               for i, shape in enumerate([(7, 4, 4), (5, 6, 6), (6, 5, 5)])]
    regressors = module_of(nn.ModuleList([
        Regressor(nn.Conv2d(3, 7, 3, stride=2, padding=1)),
        Regressor(nn.ConvTranspose2d(4, 5, 4, stride=2, padding=1)),
        Regressor(nn.Conv2d(6, 6, 3))]), 1520)
    tensors.update({f"fitnet_term/weights/{n}": t.clone()
                    for n, t in regressors.state_dict().items()})
    hints = [F.relu(regressor(s)) for regressor, s in zip(regressors, student)]
    loss = sum((hint - t).square().mean() for hint, t in zip(hints, teacher))
    record_module("fitnet_term", loss, regressors)
    record_levels("fitnet_term", lambda *_: loss, student, teacher)

    student = leaf(6, 5, 8, 8, seed=1400)
    teacher = tools.randn(6, 9, 4, 4, seed=1401, dtype=F64)
    networks = module_of(paraphraser_and_translator(5, 9, 4), 1410)
    tensors.update({f"ft_term/weights/{n}": t.clone() for n, t in networks.state_dict().items()})
    restored = networks["decoder"](networks["encoder"](teacher))
    record_module("ft_fit", F.mse_loss(restored, teacher), networks)
    loss = factors(networks["translator"](student), networks["encoder"](teacher).detach())
    record_module("ft_term", loss, networks)
    record("ft_term", loss, student=student)
    tensors["ft_term/teacher"] = teacher

    out.save("terms_maps", tensors)
    out.facts["terms_maps"] = facts
