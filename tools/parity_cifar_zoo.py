"""The CIFAR networks of the distillation literature, described once more and recorded.

A network is one function; its layers are made, under the names that the weight files use, when the
function first asks for them.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    """Returns logits and the stages before their last activation; `posts` keeps them after it."""

    def __init__(self, describe, num_classes):
        super().__init__()
        self.describe, self.num_classes = describe, num_classes
        self.eval()(torch.zeros(1, 3, 32, 32))

    def forward(self, x):
        logits, stages = self.describe(self, x)
        self.posts = [post for _, post in stages]
        return logits, [pre for pre, _ in stages]

    def layer(self, path, make):
        *parents, leaf = path.split(".")
        module = self
        for name in parents:
            if name not in module._modules:
                module.add_module(name, nn.Module())
            module = module._modules[name]
        if leaf not in module._modules:
            module.add_module(leaf, make().train(self.training))
        return module._modules[leaf]

    def conv(self, path, x, width, kernel=1, stride=1, groups=1, bias=False):
        return self.layer(path, lambda: nn.Conv2d(x.shape[1], width, kernel, stride, kernel // 2,
                                                  groups=groups, bias=bias))(x)

    def norm(self, path, x):
        return self.layer(path, lambda: nn.BatchNorm2d(x.shape[1]))(x)

    def conv_norm(self, number, x, width, kernel=1, stride=1, groups=1):
        """convN and bnN, where `number` is 'prefix.N'; a bare 'N' is the network's own."""
        prefix, _, n = number.rpartition(".")
        prefix = f"{prefix}." if prefix else ""
        x = self.conv(f"{prefix}conv{n}", x, width, kernel, stride, groups)
        return self.norm(f"{prefix}bn{n}", x)

    def head(self, path, x):
        """Global average and a linear layer."""
        return self.layer(path, lambda: nn.Linear(x.shape[1], self.num_classes))(x.mean((2, 3)))


def depthwise(net, number, x, stride=1):
    return net.conv_norm(number, x, x.shape[1], 3, stride, groups=x.shape[1])


def shuffle(x, groups):
    batch, channels, height, width = x.shape
    order = torch.arange(channels).reshape(groups, -1).t().flatten()
    return x[:, order].reshape(batch, channels, height, width)


def wide_resnet(depth, widen):
    def describe(net, x):
        sums, norms = [], []
        x = net.conv("conv1", x, 16, 3)
        for stage in (1, 2, 3):
            for i in range((depth - 4) // 6):
                path, width = f"block{stage}.layer.{i}", 16 * widen * 2 ** (stage - 1)
                stride = 2 if stage > 1 and i == 0 else 1
                norm = net.norm(f"{path}.bn1", x)
                if i == 0:
                    norms.append(norm)
                active = F.relu(norm)
                residual = x
                if x.shape[1] != width:
                    residual = net.conv(f"{path}.convShortcut", active, width, 1, stride)
                inner = net.conv(f"{path}.conv1", active, width, 3, stride)
                inner = F.relu(net.norm(f"{path}.bn2", inner))
                x = residual + net.conv(f"{path}.conv2", inner, width, 3)
            sums.append(x)
        norms.append(net.norm("bn1", x))
        return net.head("fc", F.relu(norms[-1])), list(zip(norms[1:], sums))
    return describe


def vgg(*convs):
    def describe(net, x):
        stages = []
        for block, (width, count) in enumerate(zip((64, 128, 256, 512, 512), convs)):
            for i in range(count):
                x = F.relu(x) if i > 0 else x
                x = net.conv(f"block{block}.{3 * i}", x, width, 3, bias=True)
                x = net.norm(f"block{block}.{3 * i + 1}", x)
            stages.append((x, F.relu(x)))
            x = F.max_pool2d(stages[-1][1], 2) if block < 3 else stages[-1][1]
        return net.head("classifier", x), stages[1:]
    return describe


def mobilenet_v2(net, x):
    def conv_norm(path, index, x, *shape):
        return net.norm(f"{path}.{index + 1}", net.conv(f"{path}.{index}", x, *shape))

    x = F.relu(conv_norm("conv1", 0, x, 16, 3, 2))
    outputs = []
    rows = [(8, 1, 1), (12, 2, 1), (16, 3, 2), (32, 4, 2), (48, 3, 1), (80, 3, 2), (160, 1, 1)]
    for group, (width, count, first_stride) in enumerate(rows):
        for i in range(count):
            path, inner = f"blocks.{group}.{i}.conv", x.shape[1] * (6 if group > 0 else 1)
            stride = first_stride if i == 0 else 1
            y = F.relu(conv_norm(path, 0, x, inner))
            y = F.relu(conv_norm(path, 3, y, inner, 3, stride, inner))
            y = conv_norm(path, 6, y, width)
            x = x + y if x.shape == y.shape else y
        outputs.append(x)
    x = F.relu(conv_norm("conv2", 0, x, 1280))
    return net.head("classifier.0", x), [(outputs[i], outputs[i]) for i in (1, 2, 4, 6)]


def shufflenet_v1(net, x):
    x = F.relu(net.conv_norm("1", x, 24))
    stages = []
    for stage, (width, count) in enumerate([(240, 4), (480, 8), (960, 4)]):
        for i in range(count):
            path, stride = f"layer{stage + 1}.{i}", 2 if i == 0 else 1
            branch = width - x.shape[1] if i == 0 else width
            groups = 1 if x.shape[1] == 24 else 3
            y = F.relu(net.conv_norm(f"{path}.1", x, branch // 4, groups=groups))
            y = F.relu(depthwise(net, f"{path}.2", shuffle(y, groups), stride))
            y = net.conv_norm(f"{path}.3", y, branch, groups=3)
            total = torch.cat([y, F.avg_pool2d(x, 3, 2, 1)], 1) if i == 0 else x + y
            x = F.relu(total)
        stages.append((total, x))
    return net.head("linear", x), stages


def shufflenet_v2(net, x):
    x = F.relu(net.conv_norm("1", x, 24))
    stages = []
    for stage, (width, count) in enumerate([(116, 4), (232, 8), (464, 4)]):
        half = width // 2
        for i in range(count):
            path = f"layer{stage + 1}.{i}"
            if i == 0:
                left = depthwise(net, f"{path}.1", x, 2)
                left = F.relu(net.conv_norm(f"{path}.2", left, half))
                y = depthwise(net, f"{path}.4", F.relu(net.conv_norm(f"{path}.3", x, half)), 2)
                y = net.conv_norm(f"{path}.5", y, half)
            else:
                left = x[:, :half]
                y = F.relu(net.conv_norm(f"{path}.1", x[:, half:], half))
                y = depthwise(net, f"{path}.2", y)
                y = net.conv_norm(f"{path}.3", y, half)
            x = shuffle(torch.cat([left, F.relu(y)], 1), 2)
        stages.append((torch.cat([left, y], 1), x))
    return net.head("linear", F.relu(net.conv_norm("2", x, 1024))), stages


def resnet50(net, x):
    x = F.relu(net.conv_norm("1", x, 64, 3))
    stages = []
    for stage, (width, count) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)]):
        for i in range(count):
            path, stride = f"layer{stage + 1}.{i}", 2 if stage > 0 and i == 0 else 1
            y = F.relu(net.conv_norm(f"{path}.1", x, width))
            y = F.relu(net.conv_norm(f"{path}.2", y, width, 3, stride))
            y = net.conv_norm(f"{path}.3", y, 4 * width)
            if i == 0:
                x = net.conv(f"{path}.shortcut.0", x, 4 * width, 1, stride)
                x = net.norm(f"{path}.shortcut.1", x)
            total = x + y
            x = F.relu(total)
        stages.append((total, x))
    return net.head("linear", x), stages


def resnet_a(depth):
    """The original paper's: the shortcut takes every other pixel and pads channels with zeros."""
    def describe(net, x):
        x = F.relu(net.conv_norm("1", x, 16, 3))
        stages = []
        for stage, width in enumerate((16, 32, 64)):
            for i in range((depth - 2) // 6):
                path, stride = f"layer{stage + 1}.{i}", 2 if stage > 0 and i == 0 else 1
                y = F.relu(net.conv_norm(f"{path}.1", x, width, 3, stride))
                y = net.conv_norm(f"{path}.2", y, width, 3)
                if stride == 2:
                    zeros = x.new_zeros(y.shape[0], width // 4, *y.shape[2:])
                    x = torch.cat([zeros, x[:, :, ::2, ::2], zeros], 1)
                total = x + y
                x = F.relu(total)
            stages.append((total, x))
        return net.head("linear", x), stages
    return describe


ZOO = {
    "wrn_16_1": wide_resnet(16, 1),
    "wrn_16_2": wide_resnet(16, 2),
    "wrn_40_1": wide_resnet(40, 1),
    "wrn_40_2": wide_resnet(40, 2),
    "cifar_vgg8": vgg(1, 1, 1, 1, 1),
    "cifar_vgg11": vgg(1, 1, 2, 2, 2),
    "cifar_vgg13": vgg(2, 2, 2, 2, 2),
    "cifar_vgg16": vgg(2, 2, 3, 3, 3),
    "cifar_vgg19": vgg(2, 2, 4, 4, 4),
    "cifar_mobilenetv2_050": mobilenet_v2,
    "shufflenetv1": shufflenet_v1,
    "cifar_shufflenetv2": shufflenet_v2,
    "cifar_resnet50": resnet50,
    "resnet20_a": resnet_a(20),
    "resnet32_a": resnet_a(32),
    "resnet44_a": resnet_a(44),
    "resnet56_a": resnet_a(56),
    "resnet110_a": resnet_a(110),
}

# Those whose gradients and statistics are stored, too: one of each family but cifar_resnet50, whose
# blocks are those of the ImageNet networks.
RECORDED = ("wrn_16_1", "wrn_16_2", "wrn_40_1", "cifar_vgg8", "cifar_mobilenetv2_050",
            "shufflenetv1", "cifar_shufflenetv2", "resnet20_a")

NUM_CLASSES = 10


def zero_gradients(net, images):
    """Parameters that a later batch norm cancels: in double precision their gradient is nothing."""
    net = copy.deepcopy(net).double().train()
    logits, _ = net(images.double())
    (logits * torch.linspace(-1.0, 1.0, logits.numel()).reshape(logits.shape)).sum().backward()
    return [name for name, p in net.named_parameters() if p.grad.abs().max() < 1e-10]


def record(name, seed, tools):
    """The tensors of one network, and the names of the gradients in them that are only noise."""
    net = tools.randomize(Net(ZOO[name], NUM_CLASSES), seed)
    images = tools.randn(4, 3, 32, 32, seed=seed + 1)
    with torch.no_grad():
        net.eval()(images)
    posts = {f"post/{i}": post for i, post in enumerate(net.posts)}
    noise = zero_gradients(net, images)
    return {**tools.record_cnn(net, images, seed + 2), **posts}, noise


def make_cifar_zoo(out, tools):
    """`tools` has randn, randomize, record_cnn, and fill of parity_imagenet_zoo."""
    noise = tools.randn(65537, seed=999)
    facts, filled = {}, dict(noise=noise, input=tools.randn(2, 3, 32, 32, seed=998))
    for i, (name, describe) in enumerate(ZOO.items()):
        net = Net(describe, NUM_CLASSES).eval()
        with torch.no_grad():
            logits, pres = tools.fill(net, noise)(filled["input"])
        filled[f"{name}/logits"] = logits
        filled.update({f"{name}/pre/{k}": pre.clone() for k, pre in enumerate(pres)})
        filled.update({f"{name}/post/{k}": post.clone() for k, post in enumerate(net.posts)})
        net = Net(describe, 100)
        facts[name] = dict(
            num_classes=NUM_CLASSES, recorded=name in RECORDED,
            parameters=sum(p.numel() for p in net.parameters()),  # with 100 classes, as is state
            state={key: list(tensor.shape) for key, tensor in net.state_dict().items()})
        if name in RECORDED:
            tensors, facts[name]["zero_gradients"] = record(name, 1000 + 10 * i, tools)
            out.save(name, tensors)
    out.save("cifar_zoo", filled)
    out.facts["cifar_zoo"] = facts
