// Every config field, declared once: name, accepted values, help. Reading, printing, comparing
// and docs/config.md all follow from these lists; defaults are those of the structs.
#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "train/config/config.h"

namespace umbra {

// What a field accepts.
struct Accepts {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool above_min = false;  // min itself is not accepted
  bool below_max = false;
  std::vector<std::string> choices{};  // strings only; empty: any

  bool number(double x) const {
    return std::isfinite(x) && (above_min ? x > min : x >= min) && (below_max ? x < max : x <= max);
  }
  std::string text() const;  // "0 < x <= 1", "one of: ...", or nothing
};

inline Accepts anything() { return {}; }
inline Accepts at_least(double min) { return {.min = min}; }
inline Accepts positive() { return {.min = 0, .above_min = true}; }
inline Accepts between(double min, double max) { return {.min = min, .max = max}; }
inline Accepts share() { return between(0, 1); }
inline Accepts below_one() { return {.min = 0, .max = 1, .below_max = true}; }
inline Accepts one_of(std::vector<std::string> choices) { return {.choices = std::move(choices)}; }

// Structs may be visited to be read into or, const, to be printed.
template <class T, class S>
concept Like = std::is_same_v<std::remove_const_t<T>, S>;

template <class V>
void fields(V&& visit, Like<RunOptions> auto& o) {
  visit("seed", o.seed, at_least(0), "Seed of every random stream of the run");
  visit("device", o.device, anything(), "auto (a GPU if there is one), cpu, cuda or cuda:N");
  visit(
      "precision", o.precision, one_of({"auto", "fp32", "bf16"}),
      "Of the networks; softmax and losses are always fp32. auto: bf16 where the hardware has it");
  visit("threads", o.threads, between(0, 1024),
        "CPU threads of the training step; 0: one per core");
  visit(
      "cuda_graph", o.cuda_graph, anything(),
      "Record forward and backward pass on the GPU and launch them as a whole from then on; meant "
      "for small networks, not measured yet. On a CPU it changes nothing");
}

template <class V>
void fields(V&& visit, Like<DataOptions> auto& o) {
  visit("format", o.format,
        one_of({"auto", "idx", "cifar10", "cifar100", "stl10", "tiny_imagenet", "tar",
                "image_folder"}),
        "Layout of the files; auto looks at what is there");
  visit("path", o.path, anything(),
        "Folder of the data set, or a .tar; relative to the current folder");
  visit("seed", o.seed, at_least(-1),
        "Seed of subsets, order, augmentation and mixing, so that runs of several run.seed see the "
        "same batches (a teacher.cache serves them all); -1: run.seed");
  visit("train_samples", o.train_samples, at_least(0),
        "Train on a class-balanced subset of this many images, drawn from the seed; 0: all");
  visit("val_split", o.val_split, below_one(),
        "Share of the training set held out and evaluated on, in place of the test set");
  visit("drop_last", o.drop_last, anything(), "Leave out the last, smaller batch of an epoch");
  visit("workers", o.workers, between(0, 256),
        "Threads preparing batches; 0: the training thread itself. Changes no result");
  visit("prefetch", o.prefetch, between(1, 1024), "Batches prepared ahead. Changes no result");
  visit("decode", o.decode, one_of({"exact", "fast"}),
        "fast: JPEGs are decoded at 1/2, 1/4 or 1/8 where the crop is that much larger than the "
        "view; changes pixels a little");
  visit("on_broken", o.on_broken, one_of({"error", "skip"}),
        "A broken image: stop, or name it in the log and take the next sample (evaluation: leave "
        "it out)");
  visit("max_pixels", o.max_pixels, between(1, 1 << 30),
        "Larger images are refused as broken (Pillow's limit by default)");
  visit(
      "memory_gb", o.memory_gb, between(0, 1e6),
      "A training or test set that fits when decoded is kept in memory, each; 0: never. Changes no "
      "result");
}

template <class V>
void fields(V&& visit, Like<augment::AugmentOptions> auto& o) {
  visit("preset", o.preset, one_of(augment::augment_presets()),
        "Sets the defaults of every field below; see docs/augment.md");
  visit("image_size", o.image_size, between(1, 4096), "Side of the square image the network sees");
  visit("crop", o.crop, one_of({"random_resized", "pad", "simple", "none"}),
        "Training crop: random resized crop; pad then crop (CIFAR); shorter side resized, padded "
        "by reflection, then cropped (DeiT-III's simple random crop); or the centre");
  visit("crop_padding", o.crop_padding, between(0, 256),
        "Pixels added on each side, for crop = pad and simple");
  visit("scale", o.scale, Accepts{.min = 0, .max = 1, .above_min = true},
        "Area share of random_resized: [low, high]");
  visit("ratio", o.ratio, positive(), "Width / height of random_resized: [low, high]");
  visit("interpolation", o.interpolation, one_of({"bilinear", "bicubic", "random"}),
        "Training resize, and geometric operations; random: one of the two each time");
  visit("hflip", o.hflip, share(), "Probability of a horizontal flip");
  visit("vflip", o.vflip, share(), "Probability of a vertical flip");
  visit("auto_augment", o.auto_augment, anything(),
        "Policy, in timm's words: rand-m9-mstd0.5-inc1, original, originalr, v0, v0r, 3a, "
        "augmix-m3-w3; or ta_wide, or custom; empty: none");
  visit("policy", o.policy, anything(),
        "For custom: sub-policies such as \"Posterize 0.4 8 + Rotate 0.6 9\" (operation, "
        "probability, magnitude), one drawn per image");
  visit("color_jitter", o.color_jitter, at_least(0),
        "Strength of brightness, contrast, saturation and hue, as many as given; empty: none");
  visit("color_jitter_prob", o.color_jitter_prob, share(), "Probability of the jitter");
  visit("grayscale_prob", o.grayscale_prob, share(), "Probability of dropping the colours");
  visit("blur_prob", o.blur_prob, share(), "Probability of a Gaussian blur, sigma 0.1 to 2");
  visit("erase_prob", o.erase_prob, share(), "Probability of random erasing");
  visit("erase_mode", o.erase_mode, one_of({"pixel", "rand", "const"}),
        "Filling: noise, one random colour, or the mean colour");
  visit("erase_count", o.erase_count, between(1, 100), "Rectangles erased, at most");
  visit("erase_min_count", o.erase_min_count, between(1, 100), "Rectangles erased, at least");
  visit("repeats", o.repeats, between(1, 100),
        "Repeated augmentation: an epoch sees a share 1 / repeats of the images, each that often");
  visit("splits", o.splits, between(1, 16),
        "Views of each image in a batch, the first without auto_augment, jitter and erasing "
        "(timm's aug_splits, for loss.name = jsd)");
  visit("pretext", o.pretext, one_of({"none", "rotation", "pool", "exemplar", "jigsaw"}),
        "SSKD's self-supervised views: each image gives itself and three transformed ones");
  visit("crop_pct", o.crop_pct, Accepts{.min = 0.01, .max = 1},
        "Evaluation: centre share kept after the resize; 1.0 for crop = pad and none");
  visit("eval_interpolation", o.eval_interpolation, one_of({"bilinear", "bicubic"}),
        "Evaluation resize");
  visit("mean", o.mean, share(), "Normalisation, one value per channel, of pixels in [0, 1]");
  visit("std", o.std, positive(), "Normalisation, one value per channel");
  visit("mixup_alpha", o.mixup_alpha, at_least(0), "Beta parameter of mixup; 0: off");
  visit("cutmix_alpha", o.cutmix_alpha, at_least(0), "Beta parameter of CutMix; 0: off");
  visit("cutmix_minmax", o.cutmix_minmax, share(),
        "CutMix with sides of [low, high] share instead of the alpha's box; empty: off");
  visit("mix_prob", o.mix_prob, share(), "Probability that a batch (pair, element) is mixed");
  visit("switch_prob", o.switch_prob, share(), "Probability of CutMix when both are on");
  visit("mix_mode", o.mix_mode, one_of({"batch", "pair", "elem"}),
        "What shares one lambda: the batch, a pair of partners, or nothing");
  visit("mix_groups", o.mix_groups, between(1, 1 << 20),
        "Parts of the batch with lambdas and partners of their own, row i in part i mod this: as "
        "if on so many processes");
  visit("mix_order", o.mix_order, one_of({"erase_first", "mix_first"}),
        "erase_first: DeiT; mix_first: timm, on 8-bit values before normalisation and erasing");
  visit("cutmix_box", o.cutmix_box, one_of({"deit", "timm"}),
        "deit: timm 0.3.2, odd sides lose a pixel; timm: 1.0.31");
  visit("mix_off_epoch", o.mix_off_epoch, at_least(0), "No mixing from this epoch on; 0: always");
  visit("label_smoothing", o.label_smoothing, below_one(), "Share spread over all classes");
}

template <class V>
void fields(V&& visit, Like<vit::VitOptions> auto& o) {
  visit("img_size", o.img_size, between(1, 4096), "Image side; position embedding follows");
  visit("patch_size", o.patch_size, between(1, 4096), "Patch side; must divide img_size");
  visit("embed_dim", o.embed_dim, between(1, 65536), "Token width; a multiple of num_heads");
  visit("depth", o.depth, between(1, 1024), "Transformer blocks");
  visit("num_heads", o.num_heads, between(1, 1024), "Attention heads");
  visit("mlp_ratio", o.mlp_ratio, positive(), "Hidden width of the MLP / embed_dim");
  visit("qkv_bias", o.qkv_bias, anything(), "Bias of the query-key-value projection");
  visit("distilled", o.distilled, anything(), "Distillation token and shadow head (head_dist)");
  visit("num_shadow_heads", o.num_shadow_heads, between(1, 64),
        "For distilled: tokens and heads, one per teacher");
  visit("shadow_head", o.shadow_head, one_of({"linear", "mlp"}),
        "linear (DeiT) or mlp: LayerNorm-Linear-GELU-Linear (SHAKE's stronger head)");
  visit("drop_rate", o.drop_rate, below_one(), "Dropout before the heads");
  visit("pos_drop_rate", o.pos_drop_rate, below_one(), "Dropout after the position embedding");
  visit("proj_drop_rate", o.proj_drop_rate, below_one(), "Dropout of projections and MLP");
  visit("attn_drop_rate", o.attn_drop_rate, below_one(), "Dropout of attention weights");
  visit("drop_path_rate", o.drop_path_rate, below_one(), "Stochastic depth of the last block");
  visit("drop_path_schedule", o.drop_path_schedule, one_of({"linear", "constant"}),
        "Over the blocks: linear from 0, or constant (DeiT-III)");
  visit("init_values", o.init_values, between(0, 1),
        "LayerScale of every residual branch: 1e-4 DeiT-III, 1e-6 the same in timm; 0: none");
  visit("no_embed_class", o.no_embed_class, anything(),
        "Position embedding for the patches only (DeiT-III)");
  visit("cls_token_std", o.cls_token_std, positive(),
        "Init of the class token: 0.02 DeiT, 1e-6 timm 1.0");
  visit("grad_checkpointing", o.grad_checkpointing, anything(),
        "Keep only the blocks' inputs and compute each block again in the backward pass: far less "
        "memory, about a third more work. Changes no result");
}

template <class V>
void fields(V&& visit, Like<cnn::CnnOptions> auto& o) {
  visit("num_shadow_heads", o.num_shadow_heads, between(0, 64),
        "Shadow heads over the pooled vector, one per teacher (SHAKE, student side)");
  visit("shadow_head", o.shadow_head, one_of({"linear", "mlp"}),
        "linear, or mlp: Linear-ReLU-Linear (SHAKE's stronger head)");
  visit("expanded_channels", o.expanded_channels, between(0, 1 << 20),
        "Width of NORM's feature transform before the pooling: N times the teacher's; 0: none");
  visit("zero_init_residual", o.zero_init_residual, anything(),
        "Start every residual branch at zero (last batch norm)");
}

// The keys of [model] beside those of the architecture, which depend on the name.
template <class V>
void model_head_fields(V&& visit, Like<ModelOptions> auto& o) {
  visit("name", o.name, anything(), "A named model, or vit for one that is all options");
  visit("num_classes", o.num_classes, at_least(0), "0: as many as the data has");
  visit("in_chans", o.in_chans, between(0, 64), "Image channels; 0: as many as the data has");
  visit("init_from", o.init_from, anything(),
        "Run folder, checkpoint or weight file (.safetensors, .pth) to start from; position and "
        "patch "
        "embedding are resized");
  visit(
      "init_strict", o.init_strict, anything(),
      "init_from must have every tensor of the model and no other; false: load what fits by name");
  visit("init_head", o.init_head, one_of({"file", "new"}),
        "Class heads of init_from: from the file, or new, for other classes");
  visit("freeze", o.freeze, one_of({"none", "backbone"}),
        "backbone: only the class heads learn; dropout and batch norm are as in evaluation");
  visit("pos_embed_resize", o.pos_embed_resize, one_of({"timm", "deit"}),
        "Position embedding at another size: bicubic with (timm) or without (deit) antialiasing");
}

template <class V>
void fields(V&& visit, Like<ModelOptions> auto& o) {
  model_head_fields(visit, o);
  if (o.is_vit()) {
    fields(visit, o.vit);
  } else {
    fields(visit, o.cnn);
  }
}

template <class V>
void fields(V&& visit, Like<TeacherOptions> auto& o) {
  visit("path", o.path, anything(),
        "Run folder, checkpoint folder or weight file (.safetensors, .pth)");
  visit("checkpoint", o.checkpoint, anything(), "Of a run: best, last, or a checkpoint's name");
  visit("weights", o.weights, one_of({"auto", "raw", "ema"}),
        "Of a run: the weights themselves or their average; auto: whichever scored better");
  visit("expect_top1", o.expect_top1, between(0, 100),
        "Refuse to train if the teacher scores less than this (percent) on the test set; 0: any");
  visit("cache", o.cache, anything(),
        "Folder of its logits for every view of the run, which umbra cache makes and umbra train "
        "reads instead of asking it; empty: it is asked at every step");
  visit(
      "format", o.format, one_of({"auto", "torchscript"}),
      "auto: run or weight file. torchscript: a file from torch.jit, logits only; it is a program, "
      "so only from people you trust");
  visit("model", o.model, anything(), "Model name, for a bare weight file only");
  visit("image_size", o.image_size, between(0, 4096),
        "Side the teacher sees, for a bare weight file; 0: the student's");
  visit("mean", o.mean, share(), "Its normalisation, for a bare weight file; empty: the student's");
  visit("std", o.std, positive(), "Its normalisation, for a bare weight file");
}

template <class V>
void fields(V&& visit, Like<LossOptions> auto& o) {
  visit("name", o.name, one_of({"cross_entropy", "bce", "jsd"}),
        "Loss with the labels: softmax cross-entropy; binary cross-entropy (DeiT-III); or AugMix's "
        "consistency loss (augment.splits)");
  visit("jsd_weight", o.jsd_weight, at_least(0), "jsd: weight of the consistency term");
}

inline std::vector<std::string> term_names() {
  std::vector<std::string> names;
  for (const TermMethod& method : term_methods()) names.push_back(method.name);
  return names;
}

// The keys of [[distill.terms]] for all methods together.
template <class V>
void all_term_fields(V&& visit, Like<TermOptions> auto& o) {
  visit("method", o.method, one_of(term_names()), "The loss; see docs/losses.md");
  visit("weight", o.weight, at_least(0), "Its weight; as published unless set");
  visit("warmup_epochs", o.warmup_epochs, at_least(0), "Epochs over which the weight grows");
  visit("warmup_from_zero", o.warmup_from_zero, anything(),
        "The first of them counts as 0 (ReviewKD's code), else as 1 (DKD's)");
  visit("factors", o.factors, at_least(0),
        "The weight times each of these in turn, the next one from each of factor_epochs on; "
        "empty: 1");
  visit("factor_epochs", o.factor_epochs, at_least(0), "One fewer than factors, ascending");
  visit("teacher", o.teacher, between(0, 63), "Which of the [[teacher]] tables, from 0");
  visit("head", o.head, one_of({"class", "shadow"}), "The student's head, for losses on logits");
  visit("temperature", o.temperature, positive(), "Of the softmax");
  visit("logit_norm", o.logit_norm, one_of({"none", "layer_norm", "z_score"}),
        "kd, dkd, dist: logits over the classes as SHAKE's code (layer_norm) or LSKD (z_score) has "
        "them");
  visit("logit_scale", o.logit_scale, positive(), "kd, dkd, dist: times this after layer_norm");
  visit("student_stages", o.student_stages, anything(),
        "Names of stages (umbra models), for losses on features; empty: as published");
  visit("teacher_stages", o.teacher_stages, anything(), "As many of the teacher's");
  visit("alpha", o.alpha, at_least(0),
        "dkd: weight of the target part; dist: of the relation between classes");
  visit("beta", o.beta, at_least(0),
        "dkd: weight of the rest; dist: of the relation within classes");
  visit("distance_weight", o.distance_weight, at_least(0), "rkd: weight of the distances");
  visit("angle_weight", o.angle_weight, at_least(0), "rkd: weight of the angles");
  visit("embed_dim", o.embed_dim, between(1, 65536), "crd, cc: width of the embedding");
  visit("negatives", o.negatives, between(1, 1 << 24), "crd: negatives for each sample");
  visit("nce_temperature", o.nce_temperature, at_least(0.02),
        "crd: temperature of the scores; their exponentials must stay finite");
  visit("bank_momentum", o.bank_momentum, share(), "crd: what the memory keeps of the old row");
  visit("positives", o.positives, one_of({"exact", "relax"}),
        "crd: the sample itself, or any of its class");
  visit("mid_channels", o.mid_channels, between(0, 65536),
        "review_kd: width of the fusion; 0: as the official code");
  visit("activation", o.activation, one_of({"official", "pre", "post"}),
        "review_kd: stages of both networks before or after their last activation; official: the "
        "student after and the teacher before it for CIFAR and transformers, both after it for "
        "ImageNet, but a MobileNet student before");
  visit("paraphrase_rate", o.paraphrase_rate, positive(),
        "ft: channels of the factors / of the map");
  visit("peers", o.peers, between(1, 16), "dml: networks beside the student");
  visit("fit_epochs", o.fit_epochs, at_least(0),
        "ab, ft, fsp: length of the fit before the training");
  visit("fit_lr", o.fit_lr, at_least(0), "ab, ft, fsp: its learning rate; 0: the training's");
}

// The keys that the method reads.
template <class V>
void fields(V&& visit, Like<TermOptions> auto& o) {
  const TermMethod* method = find_term_method(o.method);
  all_term_fields(
      [&](const char* name, auto& value, const Accepts& accepts, const char* help) {
        if (!method || method->reads(name)) visit(name, value, accepts, help);
      },
      o);
}

template <class V>
void fields(V&& visit, Like<DistillOptions> auto& o) {
  visit("preset", o.preset, one_of(distill_presets()),
        "Sets the defaults of every field below; see docs/losses.md");
  visit("method", o.method, one_of({"none", "deit_soft", "deit_hard", "shake", "sskd"}),
        "The objective");
  visit("temperature", o.temperature, positive(), "Of every KL term");
  visit("kl_scale", o.kl_scale, one_of({"batchmean", "numel"}),
        "KL summed over classes / B, or / (B * C) as DeiT's code does");
  visit("alpha", o.alpha, share(), "deit_*: (1 - alpha) * loss with labels + alpha * distillation");
  visit("shadow", o.shadow, one_of({"student", "teacher"}),
        "shake: shadow head on the student (paper, ViT) or branch on the frozen teacher (public "
        "code)");
  visit("task_weight", o.task_weight, at_least(0),
        "none, shake, sskd: loss of the class head with the labels");
  visit("student_mutual_weight", o.student_mutual_weight, at_least(0),
        "shake: KL(class <- shadow)");
  visit("reverse_weight", o.reverse_weight, at_least(0), "shake: KL(shadow <- class)");
  visit("inherit", o.inherit, one_of({"kl", "mse", "hard", "none"}),
        "shake: how the shadow learns from the teacher");
  visit("inherit_weight", o.inherit_weight, at_least(0), "shake: weight of that");
  visit("shadow_ce_weight", o.shadow_ce_weight, at_least(0),
        "shake: shadow's loss with the labels");
  visit(
      "teacher_weights", o.teacher_weights, one_of({"average", "aekd"}),
      "shake with several teachers: what the class head hears from the shadows in equal parts, or "
      "by the min-norm combination of their gradients");
  visit("teacher_weight_max", o.teacher_weight_max, share(),
        "aekd: largest share of one shadow (its public code's 0.6); at least 1 / their number");
  visit("direct_weight", o.direct_weight, at_least(0), "shake: KL(class <- teacher)");
  visit("logit_norm", o.logit_norm, one_of({"none", "layer_norm"}),
        "none, shake: layer_norm standardises the logits over the classes (SHAKE's public code, "
        "NORM); evaluation sees them as they are");
  visit("logit_scale", o.logit_scale, positive(),
        "Times this after layer_norm: 3.1415 SHAKE's code, 2.5 NORM's");
  visit("pretext_task", o.sskd.task, one_of({"contrastive", "rotation", "jigsaw", "exemplar"}),
        "sskd: what the views are for (augment.pretext makes them)");
  visit("kd_weight", o.sskd.kd_weight, at_least(0), "sskd: KL of the normal images' logits");
  visit("transform_weight", o.sskd.transform_weight, at_least(0),
        "sskd: KL of the transformed images' logits");
  visit("pretext_weight", o.sskd.pretext_weight, at_least(0), "sskd: KL of the task's scores");
  visit("pretext_temperature", o.sskd.pretext_temperature, positive(),
        "sskd: of the task's scores; cosines want 0.5, the classifiers' logits up to 4");
  visit("transform_ratio", o.sskd.transform_ratio, share(),
        "sskd: share of the transformed images kept of those that the teacher gets wrong");
  visit("pretext_ratio", o.sskd.pretext_ratio, share(), "sskd: the same for the task");
  visit("fit_epochs", o.sskd.fit_epochs, at_least(0),
        "sskd: fit of the teacher's head before the training");
  visit("fit_lr", o.sskd.fit_lr, at_least(0), "sskd: its learning rate; 0: the training's");
  visit("fit_milestones", o.sskd.fit_milestones, at_least(0),
        "sskd: epochs of the fit at which the rate drops to a tenth");
  visit("headline", o.headline, one_of({"class", "mean"}),
        "Whose top-1 is the run's: the class head (SHAKE) or the mean of all heads (DeiT)");
}

template <class V>
void fields(V&& visit, Like<OptimOptions> auto& o) {
  visit("name", o.name, one_of({"adamw", "sgd", "lamb"}), "Optimiser");
  visit("lr", o.lr, positive(), "Peak learning rate");
  visit("lr_batch_size", o.lr_batch_size, at_least(0),
        "lr is meant for this batch size and scales linearly with train.batch_size; 0: lr as it "
        "stands");
  visit("weight_decay", o.weight_decay, at_least(0), "Decoupled for adamw; L2 for sgd");
  visit("betas", o.betas, below_one(), "adamw, lamb: [beta1, beta2]");
  visit("eps", o.eps, positive(), "adamw, lamb (1e-6 there)");
  visit("momentum", o.momentum, below_one(), "sgd");
  visit("nesterov", o.nesterov, anything(), "sgd");
  visit("clip_grad_norm", o.clip_grad_norm, at_least(0), "Largest gradient norm; 0: off");
  visit("layer_decay", o.layer_decay, Accepts{.min = 0, .max = 1, .above_min = true},
        "Learning rate of each layer / that of the next; 1: off");
  visit("decay_norm_and_bias", o.decay_norm_and_bias, anything(),
        "Weight decay on one-dimensional parameters, too (the CIFAR CNN recipes)");
  visit("no_decay", o.no_decay, anything(),
        "Parameters without weight decay, by a part of their name; DeiT's own code leaves out "
        "dist_token");
}

template <class V>
void fields(V&& visit, Like<ScheduleOptions> auto& o) {
  visit("name", o.name, one_of({"cosine", "multistep", "constant"}), "Shape after the warm-up");
  visit("per", o.per, one_of({"step", "epoch"}), "How often the learning rate changes");
  visit("warmup", o.warmup, at_least(0), "Linear warm-up");
  visit("warmup_lr", o.warmup_lr, at_least(0), "Learning rate of the first step");
  visit("warmup_prefix", o.warmup_prefix, anything(),
        "Cosine starts after the warm-up; false: it has run under it, as in timm and DeiT");
  visit("min_lr", o.min_lr, at_least(0), "Where the cosine ends");
  visit("deit_epoch_lag", o.deit_epoch_lag, anything(),
        "Epoch e runs at the rate of epoch e - 1, as DeiT's main.py does (per = epoch)");
  visit("milestones", o.milestones, at_least(0), "multistep: when the rate drops");
  visit("decay_rate", o.decay_rate, Accepts{.min = 0, .max = 1, .above_min = true},
        "multistep: factor at each milestone");
}

template <class V>
void fields(V&& visit, Like<TrainOptions> auto& o) {
  visit("duration", o.duration, positive(), "Length of the training");
  visit("batch_size", o.batch_size, between(1, 1 << 20), "Samples per update of the weights");
  visit("accum_steps", o.accum_steps, between(1, 1 << 20),
        "Parts that a batch is computed in, to save memory; mixing, batch norm and "
        "losses between samples (sp, rkd, pkt, cc, dist, sskd) see the parts");
  visit("ema_decay", o.ema_decay, below_one(), "Moving average of the weights; 0: none");
  visit("ema_warmup", o.ema_warmup, anything(), "Shorter average at first (timm's ModelEmaV3)");
}

template <class V>
void fields(V&& visit, Like<EvalOptions> auto& o) {
  visit("every", o.every, positive(), "How often to evaluate; the end is always evaluated");
  visit("batch_size", o.batch_size, between(1, 1 << 20), "Changes no result");
}

template <class V>
void fields(V&& visit, Like<LogOptions> auto& o) {
  visit("every", o.every, positive(), "How often a line goes to the log and to metrics.jsonl");
}

template <class V>
void fields(V&& visit, Like<CheckpointOptions> auto& o) {
  visit("every", o.every, positive(), "How often to save; the end is always saved");
  visit("keep", o.keep, between(1, 10000), "Newest checkpoints kept, beside the best");
}

// The tables of a config, in their order: `visit.table(name, options, help)` for each, and
// `visit.list(name, vector of options, help)` for arrays of tables.
template <class V>
void tables(V&& visit, Like<Config> auto& c) {
  visit.table("run", c.run, "Where and how it runs");
  visit.table("data", c.data, "The images");
  visit.table("augment", c.augment, "Views, normalisation and mixing");
  visit.table("model", c.model, "The network that is trained");
  visit.list("teacher", c.teachers,
             "The frozen teacher; [[teacher]] tables for several, one shadow head each");
  visit.table("loss", c.loss, "Loss with the labels");
  visit.table("distill", c.distill, "What the student learns from the teacher, and how");
  visit.list("distill.terms", c.distill.terms,
             "A loss that is added to the method's; [[distill.terms]] tables for several");
  visit.table("optim", c.optim, "Optimiser");
  visit.table("schedule", c.schedule, "Learning rate over time");
  visit.table("train", c.train, "Length, batch and averaging");
  visit.table("eval", c.eval, "Evaluation while training");
  visit.table("log", c.log, "Log lines and metrics");
  visit.table("checkpoint", c.checkpoint, "Saving");
}

}  // namespace umbra
