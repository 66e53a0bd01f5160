// The methods of [[distill.terms]]: of each one its loss as a plain function, where there is one,
// and what builds its term. Maps are [B, C, H, W], pooled vectors [B, D], logits [B, C]. Gradients
// go to the student's side only; losses are computed in fp32, or in fp64 where the student's side
// is.
#pragma once

#include "train/distill/term.h"

namespace umbra {

// Hinton et al., 2015: KL_T(student <- teacher), see losses.h. logit_norm: "layer_norm" as SHAKE's
// code, "z_score" as Sun et al., "Logit Standardization in Knowledge Distillation", 2024.
std::unique_ptr<Term> make_kd(const TermContext& context);

// Romero et al., "FitNets", 2015, as one joint stage in RepDistiller: mean squared error between
// the teacher's hint and the student's, brought to its shape by convolution, batch norm and ReLU.
std::unique_ptr<Term> make_fitnet(const TermContext& context);

// Zagoruyko and Komodakis, "Paying More Attention to Attention", 2017: mean squared difference of
// the L2-normalised maps of squared activations; the larger map is average-pooled.
torch::Tensor attention_of(const torch::Tensor& map);  // [B, H * W], rows of length 1
torch::Tensor attention_loss(const torch::Tensor& student, const torch::Tensor& teacher);
std::unique_ptr<Term> make_at(const TermContext& context);

// Peng et al., "Correlation Congruence for Knowledge Distillation", 2019, as in RepDistiller
// (distiller_zoo/CC.py): mean over neighbouring rows of a batch of sum_c |d_i| |d_i+1|, where d =
// student - teacher, [B, D]. The term compares linear embeddings of the pooled vectors. Both are
// trained, so this loss alone has a gradient to either side; the teacher's vector gets none.
torch::Tensor congruence_loss(const torch::Tensor& student, const torch::Tensor& teacher);
std::unique_ptr<Term> make_cc(const TermContext& context);

// Park et al., "Relational Knowledge Distillation", 2019, as in RepDistiller
// (distiller_zoo/RKD.py), on pooled vectors: distance_weight * smooth L1 of the distances between
// samples, each network's over their mean, + angle_weight * smooth L1 of the cosines of all angles
// between three samples. Takes B * B * max(B, D) numbers.
torch::Tensor relational_loss(const torch::Tensor& student, const torch::Tensor& teacher,
                              double distance_weight, double angle_weight);
std::unique_ptr<Term> make_rkd(const TermContext& context);

// Passalis and Tefas, "Learning Deep Representations with Probabilistic Knowledge Transfer", 2018,
// as in RepDistiller (distiller_zoo/PKT.py), on pooled vectors: mean over B * B of P_t log((P_t +
// 1e-7) / (P_s + 1e-7)), where a row of P is (1 + cosine) / 2 over its sum.
torch::Tensor probabilistic_transfer_loss(const torch::Tensor& student,
                                          const torch::Tensor& teacher);
std::unique_ptr<Term> make_pkt(const TermContext& context);

// Ahn et al., "Variational Information Distillation for Knowledge Transfer", 2019, as in
// RepDistiller (distiller_zoo/VID.py): mean over all of ((mean - t)^2 / v + ln v) / 2, the negative
// log-likelihood of the teacher's map t [B, C, H, W] without its constant, with the variance v =
// softplus(log_scale [C]) + 1e-5. The term predicts the mean from the student's map, the larger map
// average-pooled, by three 1x1 convolutions, and trains log_scale; stages are summed.
torch::Tensor variational_loss(const torch::Tensor& mean, const torch::Tensor& teacher,
                               const torch::Tensor& log_scale);
std::unique_ptr<Term> make_vid(const TermContext& context);

// Heo et al., "A Comprehensive Overhaul of Feature Distillation", 2019 (clovaai/
// overhaul-distillation), on maps before the activation: sum over C, H, W and mean over B of
// (s - max(t, margin))^2 where s > max(t, margin) or t > 0; the teacher's map t is average-pooled
// to the student's size. The term brings the student's map to the teacher's channels by a 1x1
// convolution and batch norm; of n stages, stage i counts 2^(i - n + 1). Needs the teacher's
// Model::stage_norms.
torch::Tensor overhaul_loss(const torch::Tensor& student, const torch::Tensor& teacher,
                            const torch::Tensor& margin);

// The margins [C] of a batch norm before an activation: E[x | x < 0] of x ~ N(bias, weight^2), or
// -3 |weight| where P(x < 0) <= 0.001.
torch::Tensor activation_margin(const torch::Tensor& weight, const torch::Tensor& bias);
std::unique_ptr<Term> make_ofd(const TermContext& context);

// Tung and Mori, "Similarity-Preserving Knowledge Distillation", 2019, as in RepDistiller: with
// G = F F^T of the flattened maps F [B, C * H * W] and its rows L2-normalised,
// sum (G_s - G_t)^2 / B^2. The maps may differ in every size but B. The term: the last stage.
torch::Tensor similarity_preserving_loss(const torch::Tensor& student,
                                         const torch::Tensor& teacher);
std::unique_ptr<Term> make_sp(const TermContext& context);

// Huang and Wang, "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer", 2017,
// as in RepDistiller: the squared maximum mean discrepancy between the L2-normalised spatial
// patterns x of the student's channels and y of the teacher's under k(x, y) = (x^T y)^2,
// mean k(y, y') + mean k(x, x') - 2 mean k(x, y), batch mean; the larger map is average-pooled. The
// term: the sum over all stages.
torch::Tensor neuron_selectivity_loss(const torch::Tensor& student, const torch::Tensor& teacher);
std::unique_ptr<Term> make_nst(const TermContext& context);

// Yim et al., "A Gift from Knowledge Distillation", 2017, as in RepDistiller: for every two
// consecutive maps (shallow to deep, the larger average-pooled) the mean over positions of the
// outer product of their channels, [B, C_deep, C_shallow]; the sum over the pairs of the mean
// squared difference between student and teacher. Needs two maps or more, and equal channels.
//
// As published the flow is all that the fit before the training learns, and the training sees the
// labels alone: hence the default weight of 0. Above 0 the loss acts in the training, too. The
// first map is the stem's, where both networks have one and no stages are named.
torch::Tensor flow_loss(const std::vector<torch::Tensor>& student,
                        const std::vector<torch::Tensor>& teacher);
std::unique_ptr<Term> make_fsp(const TermContext& context);

// Heo et al., "Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden
// Neurons", 2019, as in RepDistiller. Maps before their activation, of equal shapes; per level
// sum max(0, 1 + s)^2 where t <= 0 and max(0, 1 - s)^2 where t > 0, * 2^(level - last) * 3 / 1000 /
// B; the sum over the levels, shallow to deep. The term: all stages, a student's map of another
// shape through convolution and batch norm.
//
// As published it is all that the fit before the training learns (student and connectors), and the
// training sees the labels alone: hence the default weight of 0. Above 0 the loss acts in the
// training, too, and the connectors go on learning.
torch::Tensor boundary_loss(const std::vector<torch::Tensor>& student,
                            const std::vector<torch::Tensor>& teacher);
std::unique_ptr<Term> make_ab(const TermContext& context);

// Kim et al., "Paraphrasing Complex Network: Network Compression via Factor Transfer", 2018, as in
// RepDistiller: mean |p(F_s) - p(F_t)| of the factors F [B, C, H, W], where p L2-normalises the
// mean over channels of F^2; the larger factors are average-pooled. The fit teaches a paraphraser
// to restore the teacher's last map from paraphrase_rate as many channels, by squared error; then
// it is frozen, and the student learns with a translator to those factors.
torch::Tensor factor_loss(const torch::Tensor& student, const torch::Tensor& teacher);
std::unique_ptr<Term> make_ft(const TermContext& context);

// Zhao et al., "Decoupled Knowledge Distillation", 2022, as dkd_loss of megvii-research/mdistiller:
//
//   alpha * KL_T of (p_label, 1 - p_label) + beta * KL_T of the softmax over all other classes
//
// `labels` [B] int64. The original masks the label by adding -1000 to its logit and takes the
// logarithm of sums of probabilities; here the label is left out and sums stay logarithms: the same
// where neither saturates. Under mixing the label is the one that counts most.
torch::Tensor decoupled_kd_loss(const torch::Tensor& student, const torch::Tensor& teacher,
                                const torch::Tensor& labels, double alpha, double beta,
                                double temperature);
std::unique_ptr<Term> make_dkd(const TermContext& context);

// Huang et al., "Knowledge Distillation from a Stronger Teacher", 2022, as the authors' DIST_KD:
//
//   T^2 * (alpha * (1 - mean_b rho(p_s[b, :], p_t[b, :])) + beta * (1 - mean_c rho(p_s[:, c],
//   p_t[:, c])))
//
// with p = softmax(logits / T) and rho Pearson's correlation, 1e-8 added to its denominator.
torch::Tensor dist_loss(const torch::Tensor& student, const torch::Tensor& teacher, double alpha,
                        double beta, double temperature);
std::unique_ptr<Term> make_dist(const TermContext& context);

// Tian et al., "Contrastive Representation Distillation", 2020, as RepDistiller's crd folder. Of
// scores P [B, 1 + K], the positive's first, for N training samples:
//
//   -1 / B * sum_b (log P_0 / (P_0 + K / N + eps) + sum_k log (K / N) / (P_k + K / N + eps))
//
// with eps = 1e-7. The term embeds both pooled vectors (a linear layer each, then length 1), scores
// each side against the other's memory bank (contrast_memory.h) and adds both losses. It differs
// from RepDistiller in that contrasts are drawn here and not in the loader's workers, and copies of
// a sample in one batch enter the bank by their mean.
torch::Tensor contrastive_loss(const torch::Tensor& scores, int64_t samples);
std::unique_ptr<Term> make_crd(const TermContext& context);

// Zhang et al., "Deep Mutual Learning", 2018. Of the logits of K networks that learn together, each
// from all others: 1 / (K - 1) * sum_{i != j} KL_T(i <- j), the targets detached.
//
// The term owns the networks beside the student, of its architecture and freshly drawn, and adds
// their losses with the labels, which the term's weight multiplies, too; the student's own is the
// task's. All learn in the same step, as in the paper's parallel variant; it has T = 1.
torch::Tensor mutual_loss(const std::vector<torch::Tensor>& logits, double temperature);
std::unique_ptr<Term> make_dml(const TermContext& context);

// Lan et al., "Knowledge Distillation by On-the-Fly Native Ensemble", 2018. The branches of the
// ensemble, weighted by `gates` [B, branches]: [B, C].
//
//   loss = CE(ensemble) + sum_shadows CE(shadow) + sum_branches KL_T(branch <- ensemble),  T = 3
//
// Our reading: branches are the class head and the shadow heads, which share the whole backbone
// (the paper's branches have a last stage each); the gate is a linear layer on the pooled vector
// and a softmax (the paper's has batch norm and ReLU between them); the ensemble is detached as a
// target and learns by its cross-entropy alone, into gate and branches. The class head's
// cross-entropy is the task's.
torch::Tensor gated_ensemble(const std::vector<torch::Tensor>& branches,
                             const torch::Tensor& gates);
std::unique_ptr<Term> make_one(const TermContext& context);

// Chen et al., "Distilling Knowledge via Knowledge Review", 2021. The student's stages and its
// pooled vector are fused from deep to shallow (ABF), each output is compared with the teacher's
// map before its activation. As dvlab-research/ReviewKD, with shapes as found: the student's fused
// map is resized to the teacher's, except for a transformer, whose grid the teacher's maps are
// averaged to. Parameters: abfs.0 (deepest) ... of the official code.
//
// HCL, of one level [B, C, H, W]: mean squared error of the maps, and of them average-pooled to 4,
// 2 and 1 pixels where that is smaller than H, with weights 1, 1/2, 1/4, ... / their sum; a size
// that is left out halves nothing.
torch::Tensor hcl_loss(const torch::Tensor& student, const torch::Tensor& teacher);
std::unique_ptr<Term> make_review_kd(const TermContext& context);

// Liu et al., "NORM: Knowledge Distillation via N-to-One Representation Matching", 2023, as
// OSVAI/NORM (helper/loops.py): N * mean (e - t)^2 between the student's last map e [B, N * C, H,
// W] of its feature transform (model.expanded_channels) and N copies of the teacher's last map t
// [B, C, H, W]; the larger of the two is max-pooled to the other's size.
torch::Tensor n_to_one_loss(const torch::Tensor& expanded, const torch::Tensor& teacher);
std::unique_ptr<Term> make_norm(const TermContext& context);

}  // namespace umbra
