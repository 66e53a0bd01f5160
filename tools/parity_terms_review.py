"""What ReviewKD's fusion and HCL and SSKD's losses give, from their formulas, in float64."""

import torch
import torch.nn.functional as F

F64 = torch.float64


def hcl(student, teacher):
    """Errors at full size and pooled to 4, 2, 1, each weighing half of the one before."""
    maps = [(student, teacher)]
    maps += [(F.adaptive_avg_pool2d(student, n), F.adaptive_avg_pool2d(teacher, n))
             for n in (4, 2, 1) if n < student.shape[2]]
    weights = [0.5**i for i in range(len(maps))]
    return sum(w * (s - t).square().mean() for w, (s, t) in zip(weights, maps)) / sum(weights)


def batch_norm(x, weight, bias):
    mean = x.mean((0, 2, 3), keepdim=True)
    variance = (x - mean).square().mean((0, 2, 3), keepdim=True)
    scaled = (x - mean) / (variance + 1e-5).sqrt()
    return scaled * weight[:, None, None] + bias[:, None, None]


def nearest(x, side):
    pick = torch.arange(side) * x.shape[-1] // side  # floor of what the pixel's corner falls on
    return x[:, :, pick][..., pick]


def abf(weights, x, deeper, side):
    """One level: its output and what it hands up."""
    x = torch.einsum("oi,bihw->bohw", weights["conv1.0.weight"][:, :, 0, 0], x)
    x = batch_norm(x, weights["conv1.1.weight"], weights["conv1.1.bias"])
    if deeper is not None:
        y = nearest(deeper, x.shape[-1])
        z = torch.einsum("oi,bihw->bohw", weights["att_conv.0.weight"][:, :, 0, 0],
                         torch.cat([x, y], 1)) + weights["att_conv.0.bias"][:, None, None]
        z = 1 / (1 + torch.exp(-z))
        x = x * z[:, :1] + y * z[:, 1:]
    x = nearest(x, side)
    y = F.conv2d(x, weights["conv2.0.weight"], padding=1)
    return batch_norm(y, weights["conv2.1.weight"], weights["conv2.1.bias"]), x


def review(weights, student, teacher):
    """`student` and `teacher` are maps from shallow to deep, the pooled vector last."""
    total, deeper = 0.0, None
    for n, (x, t) in enumerate(zip(reversed(student), reversed(teacher))):
        level = {k.removeprefix(f"abfs.{n}."): w for k, w in weights.items()
                 if k.startswith(f"abfs.{n}.")}
        out, deeper = abf(level, x, deeper, t.shape[-1])
        total = total + hcl(out, t)
    return total


def abf_weights(student, teacher, mid, tools, seed):
    shapes = {}
    for n, (s, t) in enumerate(zip(reversed(student), reversed(teacher))):
        shapes[f"abfs.{n}.conv1.0.weight"] = (mid, s.shape[1], 1, 1)
        shapes[f"abfs.{n}.conv1.1.weight"] = shapes[f"abfs.{n}.conv1.1.bias"] = (mid,)
        shapes[f"abfs.{n}.conv2.0.weight"] = (t.shape[1], mid, 3, 3)
        shapes[f"abfs.{n}.conv2.1.weight"] = shapes[f"abfs.{n}.conv2.1.bias"] = (t.shape[1],)
        if n > 0:
            shapes[f"abfs.{n}.att_conv.0.weight"] = (2, 2 * mid, 1, 1)
            shapes[f"abfs.{n}.att_conv.0.bias"] = (2,)
    return {name: 0.5 * tools.randn(*shape, seed=seed + i, dtype=F64)
            for i, (name, shape) in enumerate(shapes.items())}


# Batch, width of the fusion, and channels and sides of both from shallow to deep.
REVIEW = (
    dict(batch=5, mid=6, student=((3, 8), (4, 4), (7, 2)), teacher=((5, 8), (6, 4), (7, 2))),
    dict(batch=3, mid=5, student=((3, 16), (5, 8), (6, 4)), teacher=((4, 8), (5, 5), (3, 4))),
    dict(batch=6, mid=4, student=((4, 4), (5, 2), (9, 2)), teacher=((4, 32), (6, 9), (8, 3))),
)


def make_review(tensors, facts, tools):
    facts["review"] = []
    for i, case in enumerate(REVIEW):
        seed = 7000 + 100 * i

        def maps(shapes, offset, pooled):
            drawn = [tools.randn(case["batch"], c, s, s, seed=seed + offset + n, dtype=F64)
                     for n, (c, s) in enumerate(shapes)]
            last = tools.randn(case["batch"], pooled, 1, 1, seed=seed + offset + 9, dtype=F64)
            return drawn + [last]

        student = [x.requires_grad_() for x in maps(case["student"], 0, 11)]
        teacher = maps(case["teacher"], 10, 8)
        weights = {k: w.requires_grad_() for k, w in
                   abf_weights(student, teacher, case["mid"], tools, seed + 20).items()}
        value = review(weights, student, teacher)
        leaves = {f"student_{n}": x for n, x in enumerate(student)} | weights
        for (name, leaf), grad in zip(leaves.items(), torch.autograd.grad(value, leaves.values())):
            tensors[f"review_{i}/grad/{name}"] = grad
            tensors[f"review_{i}/at/{name}"] = leaf
        tensors.update({f"review_{i}/teacher_{n}": t for n, t in enumerate(teacher)})
        tensors[f"review_{i}/value"] = value
        facts["review"].append(dict(mid=case["mid"], levels=len(student)))


HCL = ((4, 3, 16), (7, 5, 8), (3, 4, 7), (5, 3, 4), (6, 2, 3), (5, 2, 2), (3, 8, 1))


def make_hcl(tensors, facts, tools):
    facts["hcl"] = len(HCL)
    for i, (b, c, side) in enumerate(HCL):
        s = tools.randn(b, c, side, side, seed=7400 + i, dtype=F64).requires_grad_()
        t = 2 * tools.randn(b, c, side, side, seed=7500 + i, dtype=F64)
        value = hcl(s, t)
        tensors.update({f"hcl_{i}/s": s, f"hcl_{i}/t": t, f"hcl_{i}/value": value,
                        f"hcl_{i}/grad_s": torch.autograd.grad(value, s)[0]})


# --- SSKD ------------------------------------------------------------------------------------


def kl(student, teacher, temperature):
    p, q = (torch.softmax(z / temperature, 1) for z in (teacher, student))
    return temperature**2 * (p * (p.log() - q.log())).sum() / len(student)


def kept_rows(scores, targets, ratio):
    """By plain Python: rows sorted by how many columns beat the target's."""
    ranks = []
    for row, target in zip(scores.tolist(), targets.tolist()):
        order = sorted(range(len(row)), key=lambda c: -row[c])
        ranks.append(order.index(target))
    right = sum(rank == 0 for rank in ranks)
    order = sorted(range(len(ranks)), key=lambda r: ranks[r])
    return ranks, sorted(order[: right + int(ratio * (len(ranks) - right))])


def cosines(rows):
    unit = rows / rows.norm(dim=1, keepdim=True)
    normal = [r for r in range(len(rows)) if r % 4 == 0]
    other = [r for r in range(len(rows)) if r % 4 != 0]
    return unit[other] @ unit[normal].T


def sskd_terms(z_s, z_t, r_s, r_t, labels, ratios, temperatures):
    """L_ce, L_kd, L_T, L_ss and the loss of stage 2."""
    normal = torch.arange(len(z_s)) % 4 == 0
    with torch.no_grad():
        target = cosines(r_t)
    sources = torch.arange(int((~normal).sum())) // 3
    _, rows_t = kept_rows(z_t[~normal], labels[~normal], ratios[0])
    _, rows_ss = kept_rows(target, sources, ratios[1])
    t, ss = temperatures
    return dict(ce=F.cross_entropy(z_s[normal], labels[normal]),
                kd=kl(z_s[normal], z_t[normal], t),
                tf=kl(z_s[~normal][rows_t], z_t[~normal][rows_t], t),
                ss=kl(cosines(r_s)[rows_ss], target[rows_ss], ss),
                head=F.cross_entropy(cosines(r_t), sources))


def make_sskd_tasks(tensors, facts, tools):
    """The tasks that classify every row: the term of the student, and the fit of the teacher's head."""
    facts["sskd_tasks"] = []
    b, classes, d_s, d_t, ratio, temperature = 5, 7, 6, 8, 0.6, 0.5
    for i, (task, answers) in enumerate((("rotation", 4), ("jigsaw", 24), ("exemplar", 11))):
        seed = 7700 + 40 * i
        name = f"sskd_{task}"

        def draw(*shape, offset):
            return tools.randn(*shape, seed=seed + offset, dtype=F64).requires_grad_()

        def head(width, offset):
            shapes = {"0.weight": (width, width), "0.bias": (width,),
                      "2.weight": (answers, width), "2.bias": (answers,)}
            return {k: draw(*shape, offset=offset + n) for n, (k, shape) in enumerate(shapes.items())}

        def scores(weights, rows):
            hidden = (rows @ weights["0.weight"].T + weights["0.bias"]).clamp_min(0)
            return hidden @ weights["2.weight"].T + weights["2.bias"]

        generator = torch.Generator().manual_seed(seed)
        # Which turn or permutation each row shows; of exemplars which image.
        right = torch.randint(0, answers, (4 * b,), generator=generator)
        if task == "exemplar":
            right = torch.randperm(answers, generator=generator)[:b].repeat_interleave(4)
        counted = torch.arange(4 * b) % 4 != 0 if task == "jigsaw" else torch.full((4 * b,), True)
        student, teacher = head(d_s, 1), head(d_t, 11)
        r_s, r_t = draw(4 * b, d_s, offset=21), draw(4 * b, d_t, offset=22)
        a_s, a_t = scores(student, r_s)[counted], scores(teacher, r_t.detach())[counted]
        _, rows = kept_rows(a_t.detach(), right[counted], ratio)
        value = kl(a_s[rows], a_t.detach()[rows], temperature)
        leaves = {f"student_head.{k}": w for k, w in student.items()} | {"r_s": r_s}
        for key, grad in zip(leaves, torch.autograd.grad(value, leaves.values())):
            tensors[f"{name}/pretext_grad/{key}"] = grad
        fit = F.cross_entropy(a_t, right[counted])
        leaves = {f"teacher_head.{k}": w for k, w in teacher.items()}
        for key, grad in zip(leaves, torch.autograd.grad(fit, leaves.values())):
            tensors[f"{name}/fit_grad/{key}"] = grad
        tensors.update({f"{name}/pretext": value, f"{name}/fit": fit, f"{name}/answers": right,
                        f"{name}/r_s": r_s, f"{name}/r_t": r_t,
                        f"{name}/z_s": draw(4 * b, classes, offset=23),
                        f"{name}/z_t": draw(4 * b, classes, offset=24)})
        tensors.update({f"{name}/heads/student_head.{k}": w for k, w in student.items()})
        tensors.update({f"{name}/heads/teacher_head.{k}": w for k, w in teacher.items()})
        facts["sskd_tasks"].append(dict(task=task, images=11, ratio=ratio, temperature=temperature))


# Sources, classes, widths of the representations, ratios, temperatures.
SSKD = (
    (3, 10, 6, 6, (1.0, 0.75), (4.0, 0.5)),
    (5, 7, 8, 4, (0.5, 0.25), (2.0, 1.0)),
    (6, 23, 5, 9, (0.33, 0.9), (4.0, 0.5)),
    (1, 4, 5, 5, (0.75, 0.75), (1.0, 0.5)),
)


def make_sskd(tensors, facts, tools):
    facts["sskd"] = []
    for i, (b, classes, d_s, d_t, ratios, temperatures) in enumerate(SSKD):
        seed = 7600 + 20 * i
        labels = torch.randint(0, classes, (b,), generator=torch.Generator().manual_seed(seed))
        labels = labels.repeat_interleave(4)

        def draw(width, offset):
            return 2 * tools.randn(4 * b, width, seed=seed + offset, dtype=F64)

        leaves = dict(z_s=draw(classes, 1), r_s=draw(d_s, 2), r_t=draw(d_t, 4))
        z_t = draw(classes, 3)
        leaves = {k: x.requires_grad_() for k, x in leaves.items()}
        terms = sskd_terms(leaves["z_s"], z_t, leaves["r_s"], leaves["r_t"], labels, ratios,
                           temperatures)
        for name, value in terms.items():
            tensors[f"sskd_{i}/{name}"] = value
            grads = torch.autograd.grad(value, leaves.values(), retain_graph=True,
                                        allow_unused=True)
            for leaf, grad in zip(leaves, grads):
                tensors[f"sskd_{i}/{name}_grad_{leaf}"] = (torch.zeros_like(leaves[leaf])
                                                          if grad is None else grad)
        tensors.update({f"sskd_{i}/{k}": x for k, x in leaves.items()})
        tensors.update({f"sskd_{i}/z_t": z_t, f"sskd_{i}/labels": labels})
        facts["sskd"].append(dict(ratios=ratios, temperatures=temperatures))


def make_terms_review(out, tools):
    tensors, facts = {}, {}
    make_hcl(tensors, facts, tools)
    make_review(tensors, facts, tools)
    make_sskd(tensors, facts, tools)
    make_sskd_tasks(tensors, facts, tools)
    out.save("terms_review", tensors)
    out.facts["terms_review"] = facts
