"""Which train samples are the validation split: a stratified, seeded list.

Per class min(10 % of the class, max(50, 5000 / number of classes)), rounded down: 500 of each class
of CIFAR-10, 50 of each class of CIFAR-100 and ImageNet, none where a class has a single image.
"""

import numpy as np
import numpy.typing as npt

SEED = 0
RULE = "per class min(10 %, max(50, 5000 / classes)), rounded down"


def validation_indices(
    train_labels: npt.NDArray[np.int64], num_classes: int, seed: int = SEED
) -> npt.NDArray[np.int64]:
    """Sorted positions (int64) of the validation samples among (n,) train labels.

    Each class draws from its own counter-based generator, so that classes do not affect each other.
    """
    most = max(50, 5000 // num_classes)
    by_class = np.argsort(train_labels, kind="stable")
    ends = np.cumsum(np.bincount(train_labels, minlength=num_classes))
    chosen = [np.empty(0, np.int64)]
    for label, members in enumerate(np.split(by_class, ends[:-1])):
        generator = np.random.Generator(np.random.Philox(key=[seed, label]))
        chosen.append(generator.permutation(members)[: min(len(members) // 10, most)])
    return np.sort(np.concatenate(chosen)).astype(np.int64)
