"""Losses of dkd, dist, crd, dml and one, written from their formulas, in double precision."""

import torch
import torch.nn.functional as F

F64 = torch.float64


class Recorder:
    """Tensors of one subject: inputs, the value, and its gradient for every leaf."""

    def __init__(self):
        self.tensors = {}

    def constants(self, name, **tensors):
        self.tensors.update({f"{name}/{key}": tensor for key, tensor in tensors.items()})

    def loss(self, name, value, **leaves):
        gradients = torch.autograd.grad(value, list(leaves.values()))
        self.constants(name, value=value, **leaves)
        self.constants(f"{name}/grad", **dict(zip(leaves, gradients)))


def divergence(p, q):
    """sum p log(p / q) over the last axis, mean over the rows."""
    return (p * (p.log() - q.log())).sum(-1).mean()


def softened(logits, temperature):
    return torch.softmax(logits / temperature, -1)


def mutual_kl(student, target, temperature):
    return temperature**2 * divergence(softened(target.detach(), temperature),
                                       softened(student, temperature))


def dkd(student, teacher, labels, alpha, beta, temperature):
    """Row by row, with the probabilities of the definition."""
    target, rest = 0.0, 0.0
    for s, t, label in zip(student, teacher, labels):
        p_s, p_t = softened(s, temperature), softened(t, temperature)
        b_s, b_t = (torch.stack([p[label], 1.0 - p[label]]) for p in (p_s, p_t))
        target = target + (b_t * (b_t / b_s).log()).sum()
        others = [c for c in range(len(s)) if c != label]
        h_s, h_t = (p[others] / (1.0 - p[label]) for p in (p_s, p_t))
        rest = rest + (h_t * (h_t / h_s).log()).sum()
    return temperature**2 / len(labels) * (alpha * target + beta * rest)


def correlation(x, y):
    x, y = x - x.mean(), y - y.mean()
    return torch.dot(x, y) / (x.square().sum().sqrt() * y.square().sum().sqrt() + 1e-8)


def dist(student, teacher, alpha, beta, temperature):
    p_s, p_t = softened(student, temperature), softened(teacher, temperature)
    inter = torch.stack([correlation(s, t) for s, t in zip(p_s, p_t)]).mean()
    intra = torch.stack([correlation(s, t) for s, t in zip(p_s.T, p_t.T)]).mean()
    return temperature**2 * (alpha * (1.0 - inter) + beta * (1.0 - intra))


def contrastive(scores, samples):
    noise = (scores.shape[1] - 1) / samples
    share = scores / (scores + noise + 1e-7)
    log_other = torch.log(noise / (scores[:, 1:] + noise + 1e-7))
    return -(share[:, 0].log().sum() + log_other.sum()) / len(scores)


class Memory:
    """CRD's two banks, with the rows of each contrast gathered."""

    def __init__(self, student_bank, teacher_bank, temperature, momentum):
        self.banks = dict(student=student_bank.clone(), teacher=teacher_bank.clone())
        self.z = {}
        self.temperature, self.momentum = temperature, momentum

    def loss(self, student, teacher, indices, contrast):
        total = 0.0
        samples = len(self.banks["student"])
        for side, v, bank in (("student", student, "teacher"), ("teacher", teacher, "student")):
            rows = self.banks[bank][contrast].clone()  # [B, 1 + K, d]
            scores = torch.einsum("bkd,bd->bk", rows, v).div(self.temperature).exp()
            self.z.setdefault(side, scores.detach().mean() * samples)
            total = total + contrastive(scores / self.z[side], samples)
        for side, v in (("student", student.detach()), ("teacher", teacher.detach())):
            for index in set(indices.tolist()):
                new = v[indices == index].mean(0)
                row = self.momentum * self.banks[side][index] + (1.0 - self.momentum) * new
                self.banks[side][index] = row / row.norm()
        return total


def make_terms_logits(out, tools):
    record, facts = Recorder(), {}

    def leaf(*shape, seed, scale=3.0):
        return (scale * tools.randn(*shape, seed=seed, dtype=F64)).requires_grad_()

    def classes(count, shape, seed):
        return torch.randint(0, count, shape, generator=torch.Generator().manual_seed(seed))

    facts["logits"] = []
    cases = [(3, 3, 1.0, 1.0, 1.0), (7, 33, 1.0, 8.0, 4.0), (13, 10, 0.5, 2.0, 1.0),
             (32, 100, 2.0, 0.0, 0.5), (5, 1000, 0.0, 3.0, 20.0)]
    for i, (batch, count, alpha, beta, temperature) in enumerate(cases):
        s = leaf(batch, count, seed=800 + i)
        t = 5.0 * tools.randn(batch, count, seed=820 + i, dtype=F64)
        labels = classes(count, (batch,), 840 + i)
        record.constants(f"logits_{i}", teacher=t, labels=labels)
        record.loss(f"logits_{i}/dkd", dkd(s, t, labels, alpha, beta, temperature), z=s)
        record.loss(f"logits_{i}/dist", dist(s, t, alpha, beta, temperature), z=s)
        facts["logits"].append(dict(alpha=alpha, beta=beta, temperature=temperature))

    facts["contrastive"] = []
    for i, (batch, negatives, samples) in enumerate([(1, 1, 5), (6, 17, 40), (9, 64, 50000)]):
        scores = tools.randn(batch, 1 + negatives, seed=860 + i, dtype=F64).exp().requires_grad_()
        record.loss(f"contrastive_{i}", contrastive(scores, samples), scores=scores)
        facts["contrastive"].append(samples)

    # Three batches of one memory: its rows change, the constants of the first batch stay.
    facts["memory"] = []
    shapes = [(40, 8, 5, 7, 0.07, 0.5), (23, 16, 12, 30, 0.2, 0.9), (9, 3, 1, 1, 1.0, 0.0)]
    for i, (samples, dim, batch, negatives, temperature, momentum) in enumerate(shapes):
        banks = [tools.randn(samples, dim, seed=880 + 2 * i + side, dtype=F64) / dim**0.5
                 for side in (0, 1)]
        record.constants(f"memory_{i}", student_bank=banks[0], teacher_bank=banks[1])
        memory = Memory(*banks, temperature, momentum)
        for step in range(3):
            name, seed = f"memory_{i}/{step}", 900 + 20 * i + 5 * step
            v_s, v_t = (F.normalize(tools.randn(batch, dim, seed=seed + side, dtype=F64))
                        .requires_grad_() for side in (0, 1))
            indices = classes(samples, (batch,), seed + 2)  # of larger batches, some twice
            contrast = classes(samples, (batch, 1 + negatives), seed + 3)
            contrast[:, 0] = indices
            value = memory.loss(v_s, v_t, indices, contrast)
            record.loss(name, value, student=v_s, teacher=v_t)
            record.constants(name, indices=indices, contrast=contrast,
                             **{f"{side}_bank": b.clone() for side, b in memory.banks.items()},
                             **{f"{side}_z": z.clone() for side, z in memory.z.items()})
        facts["memory"].append(dict(temperature=temperature, momentum=momentum))

    facts["mutual"] = []
    for i, (networks, batch, count, temperature) in enumerate([(2, 7, 33, 1.0), (3, 4, 10, 1.0),
                                                              (5, 9, 100, 3.0)]):
        z = {f"z{k}": leaf(batch, count, seed=1000 + 10 * i + k) for k in range(networks)}
        value = sum(mutual_kl(a, b, temperature) / (networks - 1)
                    for a in z.values() for b in z.values() if a is not b)
        record.loss(f"mutual_{i}", value, **z)
        facts["mutual"].append(dict(networks=networks, temperature=temperature))

    facts["ensemble"] = []
    for i, (branches, batch, count, width, soft) in enumerate([(2, 7, 33, 12, False),
                                                              (4, 5, 10, 64, True)]):
        z = {f"z{k}": leaf(batch, count, seed=1100 + 10 * i + k) for k in range(branches)}
        pooled = leaf(batch, width, seed=1150 + i, scale=1.0)
        weight = leaf(branches, width, seed=1160 + i, scale=0.3)
        bias = leaf(branches, seed=1170 + i, scale=0.3)
        soft_targets = torch.softmax(2.0 * tools.randn(batch, count, seed=1180 + i, dtype=F64), 1)
        targets = soft_targets if soft else classes(count, (batch,), 1180 + i)
        gate = torch.softmax(pooled @ weight.T + bias, 1)
        mixed = torch.einsum("bn,nbc->bc", gate, torch.stack(list(z.values())))
        shares = targets if soft else F.one_hot(targets, count).to(F64)
        with_labels = [mixed, *list(z.values())[1:]]
        value = sum(-(shares * torch.log_softmax(y, 1)).sum(1).mean() for y in with_labels)
        value = value + sum(mutual_kl(logits, mixed, 3.0) for logits in z.values())
        record.constants(f"ensemble_{i}", targets=targets)
        record.loss(f"ensemble_{i}", value, pooled=pooled, weight=weight, bias=bias, **z)
        facts["ensemble"].append(branches)

    out.save("terms_logits", record.tensors)
    out.facts["terms_logits"] = facts
