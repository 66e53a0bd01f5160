#include "train/weights/state.h"

#include "augment/nearest_hint.h"
#include "train/error.h"

namespace umbra {
namespace {

std::string sizes(const TensorMap& tensors, const std::string& name) {
  return fmt::format("[{}]", fmt::join(tensors.at(name).sizes(), ", "));
}

// One of `names` that may have been meant, has the same shape, and is near; or nothing.
std::string hint(const std::string& missing, const std::vector<std::string>& names,
                 const TensorMap& own, const TensorMap& file) {
  std::vector<std::string> candidates;
  for (const std::string& name : names) {
    if (file.at(name).sizes() == own.at(missing).sizes()) candidates.push_back(name);
  }
  const auto nearest = augment::nearest_name(missing, candidates);
  return nearest ? fmt::format("; the file has {}", *nearest) : "";
}

// Adds a line for each of the first names, then how many more there are.
void list(std::string& text, const std::vector<std::string>& names,
          const std::function<std::string(const std::string&)>& line) {
  constexpr size_t kShown = 6;
  for (size_t i = 0; i < std::min(kShown, names.size()); ++i) text += "\n  " + line(names[i]);
  if (names.size() > kShown) text += fmt::format("\n  ... and {} more", names.size() - kShown);
}

}  // namespace

TensorMap state_of(const torch::nn::Module& module) {
  TensorMap state;
  for (const auto& item : module.named_parameters()) state.emplace(item.key(), item.value());
  for (const auto& item : module.named_buffers()) state.emplace(item.key(), item.value());
  return state;
}

Mismatch compare(const TensorMap& own, const TensorMap& file) {
  Mismatch result;
  for (const auto& [name, tensor] : own) {
    const auto found = file.find(name);
    if (found == file.end()) {
      if (!name.ends_with("num_batches_tracked")) result.missing.push_back(name);
    } else if (found->second.sizes() != tensor.sizes()) {
      result.misshapen.push_back(name);
    }
  }
  for (const auto& [name, tensor] : file) {
    if (!own.contains(name)) result.unexpected.push_back(name);
  }
  return result;
}

std::string describe(const Mismatch& mismatch, const TensorMap& own, const TensorMap& file) {
  std::string text = fmt::format(
      "the weights do not fit the model. Of its {} tensors {} are missing and {} have another "
      "shape; of the file's {} tensors {} are unexpected",
      own.size(), mismatch.missing.size(), mismatch.misshapen.size(), file.size(),
      mismatch.unexpected.size());
  list(text, mismatch.missing, [&](const std::string& name) {
    return fmt::format("missing: {} {}{}", name, sizes(own, name),
                       hint(name, mismatch.unexpected, own, file));
  });
  list(text, mismatch.misshapen, [&](const std::string& name) {
    return fmt::format("shape of {}: file {}, model {}", name, sizes(file, name), sizes(own, name));
  });
  list(text, mismatch.unexpected, [&](const std::string& name) {
    return fmt::format("unexpected: {} {}", name, sizes(file, name));
  });
  return text;
}

void load_state(torch::nn::Module& module, const TensorMap& state) {
  const torch::NoGradGuard no_grad;
  const TensorMap own = state_of(module);
  const Mismatch mismatch = compare(own, state);
  if (!mismatch.empty()) throw Error(describe(mismatch, own, state));
  for (const auto& [name, tensor] : state) torch::Tensor(own.at(name)).copy_(tensor);
}

}  // namespace umbra
