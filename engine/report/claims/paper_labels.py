"""What the papers claim about labels and images: what in a label counts, and what it replaces."""

from __future__ import annotations

from engine.report.claims import published_words as words
from engine.report.claims.statement import (
    Statement,
    nothing,
    of_no_trial,
    selection,
    transform,
)

LABELS = (
    Statement(
        key="swap",
        text="Structure counts: exchanging a top label with the last hurts, the more the higher it "
        "stands",
        source="paper, label swap test; reproduction, section 2.3, Figure 2a",
        stated="The student’s performance suffers when labels with high softmax values are swapped "
        "with the last one, with the largest effect seen for the highest values.",
        needs="labels with the i-th probability swapped for two i, and the same labels whole",
        published=words.swaps,
        concerns=transform("swap-ith"),
        figures=("swap_ith",),
        tables=("swap_ith",),
    ),
    Statement(
        key="shuffled-below-soft",
        text="Labels whose tail is shuffled are worse than soft ones",
        source="reproduction, section 2.3, Figure 2b",
        stated="With the top label kept and the remaining 99 randomly shuffled, students perform "
        "worse than with soft labels, though the entropy is the same.",
        needs="labels with a shuffled tail, and the same labels whole",
        published=words.shuffled,
        concerns=transform("shuffle-tail"),
        figures=("shuffle_tail",),
        tables=("shuffle_tail",),
    ),
    Statement(
        key="shuffled-below-hard",
        text="Labels whose tail is shuffled are worse than hard ones",
        source="reproduction, section 2.3, Figure 2b",
        stated="Students trained on shuffled labels performed worse than those trained on hard "
        "labels, too (equal at IPC 1 in the plot).",
        needs="labels with a shuffled tail, and hard labels",
        published=words.shuffled,
        concerns=transform("shuffle-tail"),
        figures=("shuffle_tail",),
        tables=("shuffle_tail",),
    ),
    Statement(
        key="generated",
        text="Uncertainty without structure is no better than hard labels",
        source="reproduction, section 2.3, Figure 3a",
        stated="With 80, 90 or 95 % of the mass on the true class and the rest distributed at "
        "random, students performed similarly to or slightly worse than with hard labels.",
        needs="generated labels, and hard labels",
        published=words.generated,
        concerns=transform("generated"),
        figures=("generated",),
        tables=("generated",),
    ),
    Statement(
        key="invented-below-soft",
        text="An expert’s labels beat the same with noise, and labels whose tail means nothing",
        source="paper, structured information in labels",
        stated="Structured semantic information in soft labels is crucial for data-efficient "
        "learning; labels of as much entropy without it are not.",
        needs="labels with uniform noise or an invented tail, and the expert’s",
        published=nothing,
        concerns=transform("uniform-noise", "class-imbalanced"),
        figures=("structure",),
        tables=("structure",),
    ),
    Statement(
        key="noise-no-help",
        text="Noise in the most confident labels does not help",
        source="reproduction, section 2.5, Figure 4",
        stated="The results do not support the hypothesis that introducing uncertainty into data "
        "that the expert is most confident in benefits the student.",
        needs="labels with noise in those of lowest entropy, and the same labels left alone",
        published=words.noisy,
        concerns=transform("noise-lowest-entropy"),
        figures=("noise_lowest_entropy",),
        tables=("noise_lowest_entropy",),
    ),
    Statement(
        key="noise-costs",
        text="Noise in the most confident labels costs accuracy",
        source="reproduction, section 2.5, Figure 4",
        stated="Student performance degrades when noise is mixed into the labels of lowest "
        "entropy; IPC 1 is fairly robust to it.",
        needs="labels with noise in those of lowest entropy, and the same labels left alone",
        published=words.noisy,
        concerns=transform("noise-lowest-entropy"),
        figures=("noise_lowest_entropy",),
        tables=("noise_lowest_entropy",),
    ),
    Statement(
        key="tail-helps",
        text="More than the first class of a label carries knowledge: top-1 labels are worse",
        source="paper, knowledge-data scaling law (knowledge as the k largest probabilities)",
        stated="Knowledge is measured by how many of a label’s probabilities are kept; keeping "
        "more makes up for fewer images.",
        needs="labels cut to their largest probability, and the same labels whole",
        published=nothing,
        concerns=transform("top-k"),
        figures=("top_k",),
        tables=("top_k",),
    ),
    Statement(
        key="zero-shot",
        text="A student recognises a class of which it never saw an image",
        source="paper, zero-shot",
        stated="Other classes’ soft labels teach a class without a single image of it.",
        needs="students without the images of a class, scored on that class",
        published=nothing,
        concerns=selection("drop-class"),
        figures=("zero_shot",),
        tables=("zero_shot",),
    ),
    Statement(
        key="column-teaches",
        text="What other classes’ labels say of a class teaches it: without its column it is "
        "missed more",
        source="paper, zero-shot",
        stated="A class is learned also from the probability that other classes’ images give it.",
        needs="labels without the column of a class, scored on that class, and whole labels",
        published=nothing,
        concerns=transform("drop-class-column"),
        figures=("zero_shot",),
        tables=("zero_shot",),
    ),
    Statement(
        key="no-selection",
        text="No choice of images beats random ones",
        source="paper, random image selection",
        stated="Random images are enough: it is the labels that count.",
        needs="other selections of images with the same labels and student",
        published=nothing,
        concerns=selection(),
        figures=("selection",),
        tables=("selection",),
    ),
    Statement(
        key="learned-resemble",
        text="Labels learned without an expert order the other classes as an expert’s do, not at "
        "random",
        source="paper, learned soft labels",
        stated="Distillation methods that learn soft labels directly recover the same information "
        "as an expert’s labels hold.",
        needs="labels learned from one-hot or even ones, compared with an expert’s",
        published=nothing,
        concerns=of_no_trial,
        figures=("learned_labels_rank_correlation",),
        tables=("learned_labels", "learned_labels_best_epoch"),
    ),
)
