#include "train/loop/interval.h"

namespace umbra {
namespace {

const std::string kTermPrefix = "terms.";

}  // namespace

void Interval::add(const std::string& name, const torch::Tensor& value) {
  const torch::Tensor wide = value.detach().to(torch::kFloat64);
  for (auto& [known, sum] : sums_) {
    if (known == name) {
      sum = sum.to(wide.device()) + wide;
      return;
    }
  }
  sums_.emplace_back(name, wide);
}

void Interval::add(const Loss& loss, double weight) {
  const torch::Tensor total = (loss.total * weight).detach();
  add("loss", total);
  step_loss_ = step_loss_.defined() ? step_loss_ + total : total;
  for (const LossTerm& term : loss.terms) add(kTermPrefix + term.name, term.value * weight);
  for (const LossTerm& fact : loss.facts) add(fact.name, fact.value * weight);
}

void Interval::end_step(int64_t images, double seconds, double data_seconds) {
  ++steps_;
  last_loss_ = std::exchange(step_loss_, torch::Tensor());
  images_ += static_cast<double>(images);
  seconds_ += seconds;
  data_seconds_ += data_seconds;
}

std::vector<std::pair<std::string, double>> Interval::means() const {
  std::vector<std::pair<std::string, double>> means;
  for (const auto& [name, sum] : sums_) {
    means.emplace_back(name, sum.item<double>() / static_cast<double>(steps_));
  }
  return means;
}

std::string Interval::first_not_finite() const {
  std::string total;
  for (const auto& [name, sum] : sums_) {
    if (std::isfinite(sum.item<double>())) continue;
    if (name.starts_with(kTermPrefix)) return "loss " + name.substr(kTermPrefix.size());
    if (total.empty()) total = name;
  }
  return total;
}

nlohmann::json Interval::to_json() const {
  nlohmann::json sums = nlohmann::json::array();
  for (const auto& [name, sum] : sums_) sums.push_back({name, sum.item<double>()});
  return {{"sums", sums},
          {"steps", steps_},
          {"images", images_},
          {"seconds", seconds_},
          {"data_seconds", data_seconds_}};
}

void Interval::from_json(const nlohmann::json& json) {
  clear();
  for (const auto& item : json.at("sums")) {
    sums_.emplace_back(item.at(0).get<std::string>(),
                       torch::tensor(item.at(1).get<double>(), torch::kFloat64));
  }
  steps_ = json.at("steps");
  images_ = json.at("images");
  seconds_ = json.at("seconds");
  data_seconds_ = json.at("data_seconds");
}

}  // namespace umbra
