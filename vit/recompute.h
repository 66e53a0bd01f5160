// Activation checkpointing (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016;
// torch.utils.checkpoint with use_reentrant).
#pragma once

#include "vit/block.h"

namespace umbra::vit {

// block.forward(input), of which only the input is kept: the backward pass computes the block once
// more, with the same random numbers and the same autocast, so that gradients have the same bits.
// They are added to the parameters' there, so torch::autograd::grad does not see them.
BlockImpl::Output forward_recomputed(BlockImpl& block, const Residual& input);

}  // namespace umbra::vit
