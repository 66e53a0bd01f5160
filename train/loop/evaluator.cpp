#include "train/loop/evaluator.h"

#include "train/error.h"

namespace umbra {
namespace {

constexpr int kBins = 15;

// Classes that come before the label's: those with a larger logit, and of equal ones (bf16 has
// many) those with a smaller index; all of them where a logit is not finite. [B]
torch::Tensor rank_of(const torch::Tensor& logits, const torch::Tensor& labels) {
  const torch::Tensor label = labels.unsqueeze(1), mine = logits.gather(1, label);
  const torch::Tensor classes = torch::arange(logits.size(1), labels.options()).unsqueeze(0);
  const torch::Tensor tied_before = logits.eq(mine).logical_and(classes.lt(label));
  const torch::Tensor rank = logits.gt(mine).logical_or(tied_before).sum(1);
  return rank.masked_fill(logits.isfinite().all(1).logical_not(), logits.size(1));
}

// Sums over the images of one head.
struct HeadSums {
  std::string name;
  int64_t correct1 = 0, correct5 = 0;
  double loss = 0.0;
  std::array<double, kBins> confidence{}, right{};

  // Returns which images the head got right.
  torch::Tensor add(const torch::Tensor& logits, const torch::Tensor& labels) {
    const torch::Tensor log_p = torch::log_softmax(logits, 1);
    const torch::Tensor rank = rank_of(logits, labels);
    const torch::Tensor hit1 = rank.eq(0).cpu();
    correct1 += hit1.sum().item<int64_t>();
    correct5 += rank.lt(5).sum().item<int64_t>();
    loss -= log_p.gather(1, labels.unsqueeze(1)).to(torch::kFloat64).sum().item<double>();
    const torch::Tensor top = std::get<0>(log_p.max(1)).exp().to(torch::kFloat64).cpu();
    const auto* p = top.const_data_ptr<double>();
    const auto* ok = hit1.const_data_ptr<bool>();
    for (int64_t i = 0; i < top.numel(); ++i) {
      if (std::isnan(p[i])) continue;
      const int bin = std::clamp(static_cast<int>(p[i] * kBins), 0, kBins - 1);
      confidence[bin] += p[i];
      right[bin] += ok[i] ? 1.0 : 0.0;
    }
    return hit1;
  }

  HeadScore score(int64_t images) const {
    const auto n = static_cast<double>(images);
    double gap = 0.0;
    for (int i = 0; i < kBins; ++i) gap += std::abs(confidence[i] - right[i]);
    return {name,
            100.0 * static_cast<double>(correct1) / n,
            100.0 * static_cast<double>(correct5) / n,
            loss / n,
            gap / n,
            correct1,
            correct5};
  }
};

// The heads of an output by name: class, shadows, mean of the logits of all.
std::vector<std::pair<std::string, torch::Tensor>> heads_of(const ModelOutput& output) {
  const torch::Tensor z = output.logits.to(torch::kFloat32);
  std::vector<std::pair<std::string, torch::Tensor>> heads = {{"class", z}};
  if (output.shadow_logits.empty()) return heads;
  ModelOutput wide;
  wide.logits = z;
  const bool several = output.shadow_logits.size() > 1;
  for (size_t i = 0; i < output.shadow_logits.size(); ++i) {
    const torch::Tensor shadow = output.shadow_logits[i].to(torch::kFloat32);
    heads.emplace_back(several ? fmt::format("shadow_{}", i) : "shadow", shadow);
    wide.shadow_logits.push_back(shadow);
  }
  heads.emplace_back("mean", mean_of_heads(wide));
  return heads;
}

}  // namespace

const HeadScore& EvalResult::head(const std::string& name) const {
  for (const HeadScore& score : heads) {
    if (score.head == name) return score;
  }
  return heads.front();
}

EvalResult evaluate(const Forward& forward, Loader& loader, const augment::Normalizer& normalize,
                    const torch::Tensor& teacher_predictions) {
  const torch::NoGradGuard no_grad;
  EvalResult result;
  std::vector<HeadSums> sums;
  std::vector<torch::Tensor> labels, correct, predictions;
  loader.seek(0, 0);
  for (RawBatch batch; loader.next(batch);) {
    if (batch.rows() == 0) continue;  // every image of it is broken
    const torch::Tensor images = normalize(normalize.to_device(batch.images));
    const torch::Tensor targets = batch.labels.to(images.device());
    const auto heads = heads_of(forward(images));
    sums.resize(heads.size());
    for (size_t i = 0; i < heads.size(); ++i) {
      sums[i].name = heads[i].first;
      const torch::Tensor right = sums[i].add(heads[i].second, targets);
      if (i == 0) correct.push_back(right);
    }
    labels.push_back(batch.labels);
    predictions.push_back(heads[0].second.argmax(1).cpu());
    result.images += batch.labels.size(0);
  }
  if (result.images == 0) {
    throw Error(
        "not one image of the evaluation set can be read: see umbra data info PATH --check");
  }
  for (const HeadSums& head : sums) result.heads.push_back(head.score(result.images));
  result.labels = torch::cat(labels);
  result.correct = torch::cat(correct);
  result.predictions = torch::cat(predictions);
  // Images that broke since the teacher saw them leave nothing to compare.
  if (teacher_predictions.defined() && teacher_predictions.numel() == result.images) {
    result.agreement =
        100.0 *
        result.predictions.eq(teacher_predictions).to(torch::kFloat64).mean().item<double>();
  }
  return result;
}

}  // namespace umbra
