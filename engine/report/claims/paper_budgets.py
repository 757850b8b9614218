"""What the papers claim about budgets: labels against images, experts, and which epoch of them."""

from __future__ import annotations

from engine.report.claims import published_words as words
from engine.report.claims.published_students import BASELINES, DISTILLED, SRE2L, beside, other_rates
from engine.report.claims.statement import (
    Statement,
    nothing,
    of_another_expert,
    of_no_trial,
    other_than_main,
    plain,
    plain_at_fewest,
    plain_or_hard,
    softened,
)

BUDGETS = (
    Statement(
        key="soft-beats-hard",
        text="Soft labels beat hard labels on the same random images",
        source="paper, Table 1; reproduction, sections 2.1 and 2.3, Figure 2b",
        stated="Soft labels rather than synthetic images are what makes distilled sets work: "
        "random training images with the labels of an early-stopped expert do far better than "
        "the same images with their classes.",
        needs="soft and hard labels of one IPC and student",
        published=words.soft_and_hard,
        concerns=plain_or_hard,
        figures=("worth_in_images", "accuracy_over_ipc"),
        tables=("main",),
    ),
    Statement(
        key="label-worth",
        text="A soft label is worth more than one image (in the title: a thousand)",
        source="paper, title",
        stated="A label is worth a thousand images. Tested is the literal reading with one: hard "
        "labels need more images to be as accurate. At an IPC that has hard labels of its own this "
        "is once more that soft labels beat them; new is by how many images.",
        needs="soft labels, and hard labels at several IPCs",
        published=words.worth_in_images,
        concerns=plain_or_hard,
        figures=("worth_in_images",),
        tables=("worth_in_images",),
    ),
    Statement(
        key="knowledge-replaces-images",
        text="Expert knowledge replaces images: fewer with soft labels beat more with hard ones",
        source="paper, knowledge-data scaling law; reproduction, section 2.4, Figure 3b",
        stated="Knowledge of an expert reduces how many images are needed, along an empirical "
        "scaling law and a Pareto front of images and knowledge; no formula is published.",
        needs="soft labels at one IPC and hard labels at a larger one, by students that differ in "
        "their length and learning rate at most",
        published=words.fewer_soft_than_hard,
        concerns=plain_or_hard,
        figures=("pareto_front", "scaling_law"),
        tables=("pareto", "scaling_law_forms", "scaling_law_parameters"),
    ),
    Statement(
        key="as-published",
        text="Random images with soft labels are as accurate as published",
        source="paper, Table 2 and Appendix A.5; reproduction, section 2.1, Table 1",
        stated="The reproduction observes similar test accuracies for the soft-label baseline.",
        needs="students of the published architecture, length and learning rate on a dataset of "
        "Table 2",
        published=words.soft_labels,
        concerns=beside(*BASELINES),
        figures=("baseline",),
        tables=("published",),
    ),
    Statement(
        key="beats-dm",
        text="Random images with soft labels beat the distilled images of DM, trained as long",
        source="paper, Table 2; reproduction, section 2.1, Table 1",
        stated="The soft-label baseline is competitive with the methods that synthesise images, "
        "despite its simplicity. In Table 2 it is above DM on CIFAR-100 and TinyImageNet, and a "
        "little below it on CIFAR-10.",
        needs="students of the published architecture, length and learning rate at an IPC of the "
        "table",
        published=words.methods,
        concerns=beside(DISTILLED),
        figures=("baseline",),
        tables=("published", "evaluated"),
    ),
    Statement(
        key="random-under-cutmix",
        text="Under CutMix-augmented labels random images are as good as SRe2L’s",
        source="paper, Table 1 (ImageNet-1K)",
        stated="With labels augmented by CutMix random images reach SRe2L’s synthetic ones, or "
        "exceed them, at all but the fewest images.",
        needs="students of the published architecture, length and learning rate with CutMix on "
        "ImageNet-1K",
        published=words.cutmix,
        concerns=beside(SRE2L, augmentation="cutmix"),
        figures=("cutmix",),
        tables=("cutmix",),
    ),
    Statement(
        key="published-rate",
        text="The published learning rate of the students is the best of those tried",
        source="paper, Table 7",
        stated="The students’ learning rate was tuned for every IPC.",
        needs="several learning rates, Table 7’s among them, by students of the published length",
        published=words.learning_rates,
        concerns=other_rates,
        figures=("learning_rate",),
        tables=("learning_rate", "learning_rate_best"),
    ),
    Statement(
        key="entropy-falls",
        text="As an expert trains, its accuracy rises and the entropy of its labels falls",
        source="reproduction, section 2.2",
        stated="As expert accuracy increases, the entropy of the soft labels decreases, because "
        "the model becomes more certain of its predictions.",
        needs="two epochs of two experts with measured accuracy and label entropy",
        published=words.expert_course,
        concerns=of_no_trial,
        figures=("accuracy_over_label_entropy",),
        tables=("experts",),
    ),
    Statement(
        key="early-beats-late",
        text="At the fewest images, labels of an early-stopped expert beat those of a longer "
        "trained one",
        source="paper, early-stopped experts; reproduction, section 2.4, Figure 3b",
        stated="For smaller IPC values, an earlier stopped expert will result in better student "
        "performance.",
        needs="two expert epochs at one IPC",
        published=words.early_and_late,
        concerns=plain_at_fewest,
        figures=("expert_epoch_published",),
        tables=("grid", "best_epoch"),
    ),
    Statement(
        key="rises-then-falls",
        text="Student accuracy rises with the expert’s and then falls",
        source="paper, Figure 2; reproduction, section 2.2, Figure 1",
        stated="Across different data budgets, student accuracy peaks and then decreases as expert "
        "accuracy increases further and soft label entropy decreases.",
        needs="three expert epochs at one IPC",
        published=words.epochs,
        concerns=plain,
        figures=("accuracy_over_expert_accuracy", "accuracy_over_label_entropy"),
        tables=("expert_quality",),
    ),
    Statement(
        key="best-epoch-grows",
        text="The best expert epoch grows with the images per class",
        source="paper, Table 7; reproduction, section 2.4, Figure 3b",
        stated="The structure that labels should have depends on the data budget: the more images, "
        "the longer the expert should train.",
        needs="two expert epochs at two IPCs",
        published=words.best_epochs,
        concerns=plain,
        figures=("best_epoch_over_ipc",),
        tables=("best_epoch",),
    ),
    Statement(
        key="temperature",
        text="A higher temperature does not replace stopping early",
        source="paper, temperature",
        stated="Softening the labels of a longer trained expert does not make up for stopping it "
        "early.",
        needs="the last expert epoch at a higher temperature, where an earlier epoch is better",
        published=nothing,
        concerns=softened,
        figures=("temperature", "temperature_1"),
        tables=("temperature",),
    ),
    Statement(
        key="another-expert",
        text="Soft labels of another expert beat hard labels, too",
        source="paper, several expert seeds",
        stated="What holds for one expert holds for experts of other seeds.",
        needs="a second expert’s labels, and hard labels",
        published=nothing,
        concerns=of_another_expert,
        tables=("robustness", "variance_split"),
    ),
    Statement(
        key="another-student",
        text="Soft labels beat hard labels for students of another architecture, too",
        source="paper, Table 1 (ResNet18’s labels for ResNet50 and the reverse)",
        stated="Labels of one architecture’s expert serve students of another.",
        needs="soft and hard labels, both with a student of another architecture",
        published=words.other_architectures,
        concerns=other_than_main("student.model"),
        figures=("students",),
        tables=("students",),
    ),
)
