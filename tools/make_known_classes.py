#!/usr/bin/env python3
"""Writes train/data/known_class_names.cpp: the class names of well-known sets, in their label order.

    tools/make_known_classes.py > train/data/known_class_names.cpp

ImageNet's and Fashion-MNIST's are torchvision's; CIFAR's and STL-10's are those of the sets' own name files.
"""

from torchvision.datasets import FashionMNIST
from torchvision.models._meta import _IMAGENET_CATEGORIES

CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck"
CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm"""
STL10 = "airplane bird car cat deer dog horse monkey ship truck"

SETS = {
    "imagenet": _IMAGENET_CATEGORIES,
    "cifar10": CIFAR10.split(),
    "cifar100": CIFAR100.split(),
    "stl10": STL10.split(),
    "fashion-mnist": FashionMNIST.classes,
}


def rows(names):
    """The names as string literals, each ending in a newline, in lines of at most 100 columns."""
    row = '       "'
    for name in names:
        piece = name + r"\n"
        if len(row) + len(piece) > 98:
            yield row + '"'
            row = '       "'
        row += piece
    yield row + '"'


def main():
    print("""// Written by tools/make_known_classes.py.
#include "train/data/known_classes.h"

namespace umbra {

std::span<const KnownClasses> known_classes() {
  static constexpr KnownClasses kSets[] = {""")
    for name, classes in SETS.items():
        assert len(set(classes)) == len(classes)
        print(f'      {{"{name}", {len(classes)},')
        print("\n".join(rows(classes)) + "},")
    print("""  };
  return kSets;
}

}  // namespace umbra""")


main()
