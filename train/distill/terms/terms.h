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
torch::Tensor attention_loss(const torch::Tensor& student, const torch::Tensor& teacher);
std::unique_ptr<Term> make_at(const TermContext& context);

}  // namespace umbra
