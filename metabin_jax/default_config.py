"""Every configuration key: default, unit, allowed values, section of the paper.

Files in `configs/` override what differs. A key that is None is filled in from
the preset: "released" follows the published code, "paper" the paper's text
where the two differ.
"""

from __future__ import annotations

from typing import Any

from ml_collections import config_dict

PRESETS: dict[str, dict[str, Any]] = {
  "released": {
    # Inner step = cycle x learning rate of rho: [1e-4, 1e-2] for rho_lr 0.1.
    "meta.beta_times_rho_lr": True,
    "meta.first_base_updates": 10,
    "data.sampler": "identity",
    "optim.warmup_factor": 0.01,
    "loss.smoothing_spread": "others",
    "loss.scatter_normalize": True,
  },
  "paper": {
    # Inner step = cycle: [0.001, 0.1].
    "meta.beta_times_rho_lr": False,
    "meta.first_base_updates": 1,
    "data.sampler": "balanced",
    # "as [31]": Luo et al.'s bag of tricks starts at a tenth.
    "optim.warmup_factor": 0.1,
    "loss.smoothing_spread": "all",
    "loss.scatter_normalize": False,
  },
}


def get_config() -> config_dict.ConfigDict:
  """The defaults: MetaBIN on MobileNetV2 x1.4, as published."""
  config = config_dict.ConfigDict()
  # "metabin": base step and meta step. "joint": base step alone. "mldg": the
  # meta step moves every parameter, rho included; any norm arm. "mar": a site
  # without labels, by soft multilabels (CVPR 2019); section `mar`.
  config.method = "metabin"
  # "released" or "paper": fills in the keys that are None below.
  config.preset = "released"

  config.model = config_dict.ConfigDict()
  # "mobilenetv2", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
  # "osnet" (width 1, 0.75, 0.5 or 0.25 as published), "mobilenetv2_standard"
  # (as torchvision and timm build it).
  config.model.backbone = "mobilenetv2"
  # Channel multiplier; the paper's MobileNetV2 has 1.4 (Sec. 4.1).
  config.model.width = 1.4
  # Stride of the last down-sampling stage: 1, or 2 as for ImageNet (not OSNet).
  config.model.last_stride = 1
  # "bin" (MetaBIN, Eq. 1), "bin_shared" (one affine map), "bin_half", "bn",
  # "in", "switchable" (BN+IN), "ibn_a", "ibn_b", "dualnorm" (its authors'),
  # "dualnorm_metabin" (MetaBIN's flag), "snr", and for OSNet "osnet_ibn",
  # "osnet_ain".
  config.model.norm = "bin"
  # "bnta": heads for the parts of a body, which the losses "position" and
  # "match" train and `eval.adapt` uses (BNTA, AAAI 2022). "none".
  config.model.heads = "none"
  # Horizontal parts of a body.
  config.model.parts = 6
  # "batch_norm" between pooling and embedding, or "none" (MAR).
  config.model.neck = "batch_norm"
  # Whether the backbone ends in a ReLU; MAR's ResNet does not.
  config.model.last_relu = True
  # "float32" or "bfloat16": computation; parameters, moments and losses are
  # float32 in both.
  config.model.dtype = "float32"
  # Blocks compute their forward pass again in the backward pass, in place of
  # keeping it: the same numbers, less memory, more time.
  config.model.remat = False
  # Weights to start from, in place of random ones: a file (torchvision's and
  # timm's ResNets and MobileNetV2s, torchreid's MobileNetV2, checkpoints of the
  # published code), "hf:OWNER/NAME", or the workdir of a run. The paper starts
  # from ImageNet (Sec. 4.1). "" for none.
  config.model.pretrained = ""
  # Take the classifier too, from a run that was trained on the same persons.
  config.model.pretrained_classifier = False
  # Python files, or importable modules, that register further norm arms and
  # backbones (WORKSPACE.md, "How to add"); files from the working directory.
  config.model.plugins = ()

  config.data = config_dict.ConfigDict()
  # READER:PATH[?key=value]; readers: manifest, folder, market, synthetic, tfds,
  # and the names of the public data sets (`metabin datasets`).
  config.data.sources = ()
  # method "mar": data sets whose train images are learned from without their
  # labels; cameras are needed, persons are looked at for the log alone.
  config.data.unlabelled = ()
  # Data sets with query and gallery, evaluated after training.
  config.data.targets = ()
  config.data.height_px = 256
  config.data.width_px = 128
  # Images of a base batch, and of a meta batch (meta-train + meta-test).
  config.data.batch_size = 80
  # K images of each person.
  config.data.instances = 4
  # "identity": persons drawn from all domains together (released code);
  # "balanced": the same number of persons from each domain (paper, Sec. 4.1);
  # "shuffle": single images of all domains, each once an epoch (method "joint"
  # without losses on pairs, "mar"; `instances` is not used).
  config.data.sampler = config_dict.placeholder(str)
  # "array": Pillow and threads; "tf": tf.data (needs the extra `data`).
  config.data.loader = "array"
  # Threads that decode images; 0 chooses.
  config.data.workers = 0
  # Iterations prepared ahead.
  config.data.prefetch = 2
  # Where resized images are kept: "memory" (if they fit into 2 GiB; "array"
  # only), "disk" (prepared before the first iteration), "none".
  config.data.cache = "memory"
  # Folder of the cache on disk; "": $METABIN_CACHE or ~/.cache/metabin_jax.
  config.data.cache_dir = ""
  config.data.flip_prob = 0.5
  # Black border before the random crop, in pixels; 0 for none.
  config.data.pad_px = 10
  # Color jitter, used by the single-source configurations.
  config.data.jitter = False
  config.data.erasing_prob = 0.0

  config.loss = config_dict.ConfigDict()
  # Sums of "ce", "triplet", "shuffle", "scatter" (Eqs. 2 to 8); for norm
  # "snr" also "snr", in the base loss only; for heads "bnta" also "position"
  # and "match".
  config.loss.base = ("ce", "triplet")
  config.loss.mtrain = ("shuffle", "triplet", "scatter")
  config.loss.mtest = ("triplet",)
  # Factors of the losses (studied in the supplement).
  config.loss.weights = config_dict.ConfigDict(
    {
      "ce": 1.0,
      "triplet": 1.0,
      "shuffle": 1.0,
      "scatter": 1.0,
      "snr": 1.0,
      # BNTA, Eq. 9.
      "position": 0.1,
      "match": 0.1,
    }
  )
  config.loss.margin = 0.3
  config.loss.smoothing = 0.1
  # "others": smoothing / (K - 1) on wrong classes; "all": smoothing / K on all.
  config.loss.smoothing_spread = config_dict.placeholder(str)
  # Centroid of L2-normalized features rather than of raw ones.
  config.loss.scatter_normalize = config_dict.placeholder(bool)
  # "position" and "match" over the parts of an image: "sum", as the equations
  # stand, or "mean".
  config.loss.part_reduction = "sum"

  config.optim = config_dict.ConfigDict()
  # "sgd"; "adam", "amsgrad": betas 0.9 and 0.999, as PyTorch writes them.
  config.optim.optimizer = "sgd"
  config.optim.lr = 0.01
  # Factors of the learning rate: of biases, and of the classifier.
  config.optim.bias_factor = 2.0
  config.optim.classifier_factor = 1.0
  config.optim.momentum = 0.9
  # "sgd": Nesterov's momentum.
  config.optim.nesterov = False
  # On every parameter but rho.
  config.optim.weight_decay = 5e-4
  # Weight decay on the affine parameters of norm layers too.
  config.optim.decay_norms = True
  config.optim.warmup_epochs = 10.0
  # Learning rate at iteration 0, as a fraction of `lr`.
  config.optim.warmup_factor = config_dict.placeholder(float)
  # After warm-up: "multistep", times `decay` at each of the milestones;
  # "cosine", down to 0 at `train.epochs`.
  config.optim.schedule = "multistep"
  config.optim.milestones_epochs = (40.0, 70.0)
  config.optim.decay = 0.1
  # method "joint": epochs at the start that move the classifier alone, under a
  # network in evaluation mode (torchreid's `fixbase_epoch`).
  config.optim.classifier_only_epochs = 0.0
  # gamma: learning rate of rho, constant, plain SGD.
  config.optim.rho_lr = 0.1
  # methods "joint" and "mldg": let the base loss move rho too (end-to-end BIN
  # baseline; MetaBIN without episode separation).
  config.optim.joint_rho = False

  config.meta = config_dict.ConfigDict()
  # Differentiate through the inner gradient.
  config.meta.second_order = False
  # "reverse" or "forward" (method "metabin"): how second order is computed,
  # same numbers.
  config.meta.second_order_by = "reverse"
  # Meta-train domains of each iteration; the others are meta-test.
  config.meta.num_mtrain = 3
  # Triangular cycle of the inner step size beta. Method "mldg": of the ratio of
  # each parameter's inner step to its own learning rate at that iteration.
  config.meta.beta_low = 0.001
  config.meta.beta_high = 0.1
  config.meta.beta_period_epochs = 5.0
  # A constant in place of the cycle; None keeps the cycle.
  config.meta.beta_fixed = config_dict.placeholder(float)
  # Multiply the cycle (or the constant) by `optim.rho_lr`; method "mldg" does
  # so in any case, for rho.
  config.meta.beta_times_rho_lr = config_dict.placeholder(bool)
  # Base updates in iteration 0, before the first meta step.
  config.meta.first_base_updates = config_dict.placeholder(int)
  # method "mldg": the meta-train loss joins the outer loss.
  config.meta.combined = True
  # method "mldg": False leaves out the base updates (textbook MLDG), and the
  # meta-train pass moves the running statistics. What then has no loss with
  # "ce", namely classifier and neck, only decays.
  config.meta.base_step = True

  # method "mar" (methods/mar.py); defaults are those of its code.
  config.mar = config_dict.ConfigDict()
  # Images without labels in a batch; those with labels: `data.batch_size`.
  config.mar.batch_size = 184
  # p: share of the pairs of a batch that is mined.
  config.mar.ratio = 0.005
  # lambda_1 of L_CML, lambda_2 of L_AL + beta L_RJ, and beta.
  config.mar.view_weight = 2e-4
  config.mar.source_weight = 50.0
  config.mar.joint_weight = 0.2
  # Factor of the cosines of features and agents.
  config.mar.scale = 30.0
  # Of L_RJ.
  config.mar.margin = 1.0
  # Share of a batch in the centres of the views; None: images of both halves
  # over 10,000.
  config.mar.center_momentum = config_dict.placeholder(float)
  # Share of the old multilabel of an image, when it is seen again.
  config.mar.label_momentum = 0.9
  # Share of a batch in the threshold of mining.
  config.mar.threshold_momentum = 0.1
  # Epochs before pairs are mined and multilabels remembered.
  config.mar.first_mining_epochs = 1.0
  # L_RJ: "code" (a mean; labelled images are repelled too), "paper" (a sum).
  config.mar.joint_form = "code"
  # L_CML over the views: "mean" (the code) or "sum" (the paper).
  config.mar.view_reduction = "mean"

  config.train = config_dict.ConfigDict()
  config.train.seed = 2020
  config.train.epochs = 100.0
  # Iterations of an epoch; 0 counts the images as the reference does (1,849
  # for the published sources).
  config.train.steps_per_epoch = 0
  # Iterations in all, in place of `epochs`; 0 uses `epochs`. Schedules keep
  # counting in epochs.
  config.train.steps = 0
  config.train.log_every_steps = 50
  # Iterations between checkpoints; 0: once an epoch.
  config.train.checkpoint_every_steps = 0
  config.train.keep_checkpoints = 2

  config.parallel = config_dict.ConfigDict()
  # "jit" (the compiler splits the work), "shard_map" or "pmap": the same
  # numbers up to the order of sums.
  config.parallel.runner = "jit"
  # Devices that share each batch; 0 for all of them. Meta-train and meta-test
  # images must be a multiple of it each.
  config.parallel.devices = 1
  # Batch norm by the moments of the "global" batch, or, with "shard_map" and
  # "pmap", of each "device"'s rows. Running moments are always global.
  config.parallel.batch_moments = "global"

  config.eval = config_dict.ConfigDict()
  config.eval.batch_size = 128
  config.eval.ranks = (1, 5, 10)
  # Remove gallery images of the query's person and camera.
  config.eval.cross_camera = True
  # "cosine" or "euclidean".
  config.eval.metric = "cosine"
  # Average precision: "interpolation-free" (mean precision at the matches, as
  # published), "trapezoid" (Market-1501's own code), "mar" (MAR's code).
  config.eval.ap = "interpolation-free"
  # False positive rates at which to give the true positive rate; () for none.
  config.eval.fprs = (1e-4, 1e-3, 1e-2)
  # Embed image and mirrored image, sum, L2-normalize (not in the paper).
  config.eval.flip = False
  # Batch norm statistics of the target in place of the sources', for each fold:
  # "none", "gallery" (its gallery images) or "all" (its queries too).
  config.eval.adapt_bn = "none"
  # "bnta": before a fold is scored, a few steps on pairs of its images, without
  # labels, move parts of the network (AAAI 2022); "none".
  config.eval.adapt = "none"
  config.eval.bnta = config_dict.ConfigDict()
  # Whose images: "gallery" (as published), or "all" (queries too).
  config.eval.bnta.images_of = "gallery"
  # How many of them, drawn at random; 0 for all.
  config.eval.bnta.images = 0
  # Most pairs, pairs of a step, and how often each pair is seen.
  config.eval.bnta.pairs = 128
  config.eval.bnta.batch_pairs = 32
  config.eval.bnta.epochs = 1
  # Of the drawing of images and the order of pairs.
  config.eval.bnta.seed = 0
  # What moves (Table 4): "bn", "in" (affine maps), "conv", "rho".
  config.eval.bnta.groups = ("bn",)
  # Of "bn" (Table 5): "mean", "var", "scale", "bias".
  config.eval.bnta.bn_arrays = ("mean", "var", "scale", "bias")
  # "position", "match" (Table 3); a network without part heads: ("match",).
  config.eval.bnta.losses = ("position", "match")
  config.eval.bnta.match_weight = 1.0
  config.eval.bnta.margin = 0.3
  # Over the pairs of a step: "mean", or "sum" as the equation stands.
  config.eval.bnta.reduction = "mean"
  # Both images of a pair are anchors, in place of the first alone.
  config.eval.bnta.symmetric = False
  # "position": of "all" parts of all images, or of the "paired" ones.
  config.eval.bnta.position_parts = "all"
  # Running statistics move to the batch's as in training ("average"), or down
  # the slope of the loss ("gradient", Eq. 14 as it stands).
  config.eval.bnta.statistics = "average"
  # Normalize by the "batch" or by the "running" statistics while adapting.
  config.eval.bnta.forward = "batch"
  # Share of a batch in the running statistics.
  config.eval.bnta.momentum = 0.1
  # Whether the statistics of the neck move too.
  config.eval.bnta.neck = True
  # "adam" or "sgd" (no momentum), and its step size.
  config.eval.bnta.optimizer = "adam"
  config.eval.bnta.lr = 5e-4
  # k-reciprocal re-ranking (Zhong et al., CVPR 2017; not in the paper).
  config.eval.rerank = False
  config.eval.rerank_k1 = 20
  config.eval.rerank_k2 = 6
  # Share of the original distance, in [0, 1].
  config.eval.rerank_lambda = 0.3
  # Average each query with this many nearest gallery images; 0: off. Needs
  # metric "cosine".
  config.eval.query_expansion = 0
  # Where to rank: "host" (NumPy, exact), "device" (JAX, distances rounded to
  # float32), "auto" (device unless it is a CPU).
  config.eval.place = "auto"
  return config
