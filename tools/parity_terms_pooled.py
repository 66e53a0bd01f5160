"""The distillation terms cc, rkd, pkt, vid and ofd, from their formulas, in double precision.

Every case `name_i` holds the leaves, `value`, and `grad_<leaf>` for those that learn. Cases `term_*` are whole terms:
`student/<k>` and `teacher/<k>` are stages or pooled vectors, `param/<name>` and `grad/<name>` the term's own
parameters by their names in C++.
"""

import math

import torch

F64 = torch.float64
VECTORS = [(2, 3, 3), (5, 7, 7), (6, 8, 13), (7, 19, 4)]  # batch, width of the student, of the teacher
MAPS = [(3, 4, 6, 6), (2, 7, 5, 5), (5, 3, 8, 8), (1, 6, 3, 3)]  # of the student: batch, channels, height, width


class Recorder:
    def __init__(self):
        self.tensors = {}

    def value(self, name, value, learns, rest=()):
        """`learns`: leaves by name, whose gradient is stored, too; `rest`: tensors by name."""
        gradients = torch.autograd.grad(value, list(learns.values()))
        self.tensors[f"{name}/value"] = value
        self.tensors |= {f"{name}/grad_{k}": g for k, g in zip(learns, gradients)}
        self.tensors |= {f"{name}/{k}": t for k, t in {**learns, **dict(rest)}.items()}

    def term(self, name, value, student, teacher, params, rest=()):
        gradients = torch.autograd.grad(value, student + list(params.values()))
        self.tensors[f"{name}/value"] = value
        for i, (s, t) in enumerate(zip(student, teacher)):
            self.tensors |= {f"{name}/student/{i}": s, f"{name}/teacher/{i}": t}
            self.tensors |= {f"{name}/grad_student/{i}": gradients[i]}
        self.tensors |= {f"{name}/param/{k}": p for k, p in params.items()}
        self.tensors |= {f"{name}/grad/{k}": g for k, g in zip(params, gradients[len(student):])}
        self.tensors |= {f"{name}/{k}": t for k, t in dict(rest).items()}


# --- relations between samples ---------------------------------------------------------------


def congruence(s, t):
    """Mean over neighbours (i, i + 1) of <|d_i|, |d_i+1|>."""
    d = s - t
    products = [torch.dot(d[i].abs(), d[i + 1].abs()) for i in range(len(d) - 1)]
    return sum(products) / len(products)


def smooth_l1(x, y):
    e = abs(x - y)
    return e * e / 2 if e < 1 else e - 0.5


def relational(s, t, distance_weight, angle_weight):
    """One pair and one triple of samples after the other."""
    batch = range(len(s))

    def distances(x):
        d = {(i, j): (x[i] - x[j]).pow(2).sum().sqrt() for i in batch for j in batch if i != j}
        mean = sum(d.values()) / len(d)
        return {pair: value / mean for pair, value in d.items()}

    def angle(x, i, j, k):  # at i
        if i in (j, k):
            return torch.zeros((), dtype=F64)
        return torch.cosine_similarity(x[j] - x[i], x[k] - x[i], dim=0, eps=0)

    d_s, d_t = distances(s), distances(t)
    distance_loss = sum(smooth_l1(d_s[pair], d_t[pair]) for pair in d_s) / len(s) ** 2
    angle_loss = sum(smooth_l1(angle(s, i, j, k), angle(t, i, j, k)) for i in batch for j in batch for k in batch)
    return distance_weight * distance_loss + angle_weight * angle_loss / len(s) ** 3


def probabilistic_transfer(s, t, eps=1e-7):
    def rows(x):
        norms = x.pow(2).sum(1).sqrt() + eps
        kernel = 0.5 + 0.5 * (x @ x.T) / torch.outer(norms, norms)
        return [row / row.sum() for row in kernel]

    divergence = sum((p * (torch.log(p + eps) - torch.log(q + eps))).sum() for p, q in zip(rows(t), rows(s)))
    return divergence / len(s) ** 2


# --- maps ------------------------------------------------------------------------------------


def pool(x, size):
    """Windows of adaptive average pooling: from floor(i * n / size) to ceil((i + 1) * n / size)."""
    def windows(n):
        return [slice(i * n // size, -(-(i + 1) * n // size)) for i in range(size)]

    rows = [torch.stack([x[:, :, r, c].mean((2, 3)) for c in windows(x.shape[3])], -1) for r in windows(x.shape[2])]
    return torch.stack(rows, -2)


def variational(mean, t, log_scale):
    """The negative log-likelihood of a normal distribution, without ln(2 pi) / 2."""
    variance = torch.log1p(torch.exp(log_scale)) + 1e-5
    spread = variance.sqrt().view(1, -1, 1, 1).expand_as(mean)
    likelihood = torch.distributions.Normal(mean, spread).log_prob(t)
    return -(likelihood + math.log(2 * math.pi) / 2).mean()


def conv1x1(x, weight):
    return torch.einsum("oi,bihw->bohw", weight[:, :, 0, 0], x)


def mean_of_negatives(weight, bias):
    """E[x | x < 0] of N(bias, weight^2), by numerical integration."""
    s = abs(weight)
    if s == 0:
        return min(bias, 0.0)
    x = torch.linspace(min(bias, 0.0) - 15 * s, 0.0, 400_001, dtype=F64)
    density = torch.exp(-((x - bias) / s) ** 2 / 2) / (s * math.sqrt(2 * math.pi))
    mass = torch.trapezoid(density, x).item()
    return torch.trapezoid(density * x, x).item() / mass if mass > 1e-3 else -3 * s


def margins(weight, bias):
    return torch.tensor([mean_of_negatives(w, b) for w, b in zip(weight.tolist(), bias.tolist())], dtype=F64)


def overhaul(s, t, margin):
    """The sheet's three cases, one after the other."""
    t, m = pool(t, s.shape[2]), margin.view(1, -1, 1, 1).expand_as(s)
    loss = torch.where((s > m) & (t <= m), (s - m) ** 2, torch.zeros_like(s))
    loss = torch.where((s > t) & (m < t) & (t <= 0), (s - t) ** 2, loss)
    loss = torch.where(t > 0, (s - t) ** 2, loss)
    return loss.flatten(1).sum(1).mean()


def batch_norm(x, weight, bias, eps=1e-5):
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
    return (x - mean) / (variance + eps).sqrt() * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


# --- what is stored --------------------------------------------------------------------------


def make_vectors(record, randn):
    for i, (batch, width, width_t) in enumerate(VECTORS):
        s = randn(batch, width, seed=4000 + i, dtype=F64).requires_grad_()
        t = 2.0 * randn(batch, width, seed=4010 + i, dtype=F64) + 0.3
        other = 2.0 * randn(batch, width_t, seed=4020 + i, dtype=F64)
        t.requires_grad_()  # an embedding, in cc
        record.value(f"cc_{i}", congruence(s, t), dict(s=s, t=t))
        record.value(f"rkd_{i}", relational(s, other, 25.0, 50.0), dict(s=s), dict(t=other))
        record.value(f"rkd_distances_{i}", relational(s, other, 3.0, 0.0), dict(s=s), dict(t=other))
        record.value(f"rkd_angles_{i}", relational(s, other, 0.0, 0.7), dict(s=s), dict(t=other))
        record.value(f"pkt_{i}", probabilistic_transfer(s, other), dict(s=s), dict(t=other))


def make_maps(record, randn):
    for i, (batch, channels, height, width) in enumerate(MAPS):
        s = (2.0 * randn(batch, channels, height, width, seed=4100 + i, dtype=F64)).requires_grad_()
        t = 1.5 * randn(batch, channels, height, width, seed=4110 + i, dtype=F64)
        log_scale = (3.0 * randn(channels, seed=4120 + i, dtype=F64)).requires_grad_()
        record.value(f"vid_{i}", variational(s, t, log_scale), dict(mean=s, log_scale=log_scale), dict(t=t))

        larger = 1.5 * randn(batch, channels, 2 * height + i, 2 * width + i, seed=4130 + i, dtype=F64)
        smaller = 1.5 * randn(batch, channels, height - i % 2, width - i % 2, seed=4140 + i, dtype=F64)
        margin = -randn(channels, seed=4150 + i, dtype=F64).abs()
        for kind, teacher in dict(same=t, larger=larger, smaller=smaller).items():
            record.value(f"ofd_{kind}_{i}", overhaul(s, teacher, margin), dict(s=s), dict(t=teacher, margin=margin))

    weight = torch.cat([randn(40, seed=4160, dtype=F64), torch.tensor([0.0, 0.0, 0.3, -0.3, 1e-3], dtype=F64)])
    bias = torch.cat([randn(40, seed=4161, dtype=F64), torch.tensor([0.5, -0.5, 1.5, 0.92, -2.0], dtype=F64)])
    record.tensors |= {"margin/weight": weight, "margin/bias": bias, "margin/value": margins(weight, bias)}


def make_whole_terms(record, randn):
    seeds = iter(range(4200, 4300))

    def leaf(*shape, scale=1.0):
        return (scale * randn(*shape, seed=next(seeds), dtype=F64)).requires_grad_()

    def fixed(*shape):
        return 1.3 * randn(*shape, seed=next(seeds), dtype=F64)

    s, t = leaf(6, 5), fixed(6, 9)
    params = {"student.weight": leaf(4, 5), "student.bias": leaf(4),
              "teacher.weight": leaf(4, 9), "teacher.bias": leaf(4)}
    e_s = s @ params["student.weight"].T + params["student.bias"]
    e_t = t @ params["teacher.weight"].T + params["teacher.bias"]
    record.term("term_cc", congruence(e_s, e_t), [s], [t], params)

    # Same size, larger and smaller than the teacher's; other channels.
    sides = [(8, 8), (7, 4), (3, 6)]
    student = [leaf(5, 3 + i, a, a) for i, (a, _) in enumerate(sides)]
    teacher = [fixed(5, 6 - i, b, b) for i, (_, b) in enumerate(sides)]

    params, total = {}, 0.0
    for i, (s, t) in enumerate(zip(student, teacher)):
        c_s, c_t, side = s.shape[1], t.shape[1], min(s.shape[2], t.shape[2])
        w = [leaf(c_t, c_s, 1, 1), leaf(c_t, c_t, 1, 1), leaf(c_t, c_t, 1, 1)]
        params |= {f"{i}.regressor.{2 * k}.weight": w[k] for k in range(3)} | {f"{i}.log_scale": leaf(c_t, scale=2.0)}
        y = conv1x1(conv1x1(conv1x1(pool(s, side), w[0]).relu(), w[1]).relu(), w[2])
        total = total + variational(y, pool(t, side), params[f"{i}.log_scale"])
    record.term("term_vid", total, student, teacher, params)

    params, norms, total = {}, {}, 0.0
    for i, (s, t) in enumerate(zip(student, teacher)):
        c_s, c_t = s.shape[1], t.shape[1]
        w, gamma, beta = leaf(c_t, c_s, 1, 1), leaf(c_t), leaf(c_t)
        norms |= {f"norm/{i}/weight": fixed(c_t), f"norm/{i}/bias": fixed(c_t)}
        params |= {f"{i}.conv.weight": w, f"{i}.norm.weight": gamma, f"{i}.norm.bias": beta}
        margin = margins(norms[f"norm/{i}/weight"], norms[f"norm/{i}/bias"])
        total = total + overhaul(batch_norm(conv1x1(s, w), gamma, beta), t, margin) * 2.0 ** (i - len(student) + 1)
    record.term("term_ofd", total, student, teacher, params, norms)


def make_terms_pooled(out, tools):
    record = Recorder()
    make_vectors(record, tools.randn)
    make_maps(record, tools.randn)
    make_whole_terms(record, tools.randn)
    out.save("terms_pooled", record.tensors)
    out.facts["terms_pooled"] = dict(vectors=len(VECTORS), maps=len(MAPS))
