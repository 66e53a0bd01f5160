#include "train/weights/load.h"

#include "train/error.h"
#include "train/weights/files.h"
#include "train/weights/key_maps.h"

namespace umbra {
namespace {

bool is_square(int64_t number) {
  if (number < 1) return false;
  const int64_t root = std::lround(std::sqrt(static_cast<double>(number)));
  return root * root == number;
}

// Rows of the position embedding that belong to tokens: one for each, or none (DeiT-III).
int64_t prefix_rows(const TensorMap& state) {
  const int64_t tokens = std::count_if(state.begin(), state.end(), [](const auto& item) {
    return item.first == "cls_token" || item.first.starts_with("dist_token");
  });
  const int64_t rows = state.at("pos_embed").size(1);
  return !is_square(rows - tokens) && is_square(rows) ? 0 : tokens;
}

// The file's rows at the grid of the model's own; rows of tokens that the file lacks stay fresh.
torch::Tensor resized_pos_embed(const TensorMap& file, const TensorMap& own,
                                vit::PosEmbedResize rule) {
  const torch::Tensor &old = file.at("pos_embed"), &fresh = own.at("pos_embed");
  const int64_t old_prefix = prefix_rows(file), new_prefix = prefix_rows(own);
  const auto grid =
      static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(fresh.size(1) - new_prefix))));
  const torch::Tensor resized = vit::resize_pos_embed(old, old_prefix, grid, rule);
  const int64_t shared = std::min(old_prefix, new_prefix);
  return torch::cat(
      {resized.narrow(1, 0, shared), fresh.narrow(1, shared, new_prefix - shared).to(old.dtype()),
       resized.narrow(1, old_prefix, resized.size(1) - old_prefix)},
      1);
}

// Brings the embeddings of a transformer to the model's image and patch size. Returns their names.
std::vector<std::string> resize_embeddings(TensorMap& file, const TensorMap& own,
                                           vit::PosEmbedResize rule) {
  std::vector<std::string> resized;
  const auto differs = [&](const char* name, int64_t dim, int64_t width_dim) {
    const auto theirs = file.find(name);
    const auto ours = own.find(name);
    if (theirs == file.end() || ours == own.end()) return false;
    return theirs->second.dim() == dim && ours->second.dim() == dim &&
           theirs->second.size(width_dim) == ours->second.size(width_dim) &&
           theirs->second.sizes() != ours->second.sizes();
  };
  if (differs("pos_embed", 3, 2)) {
    file["pos_embed"] = resized_pos_embed(file, own, rule);
    resized.emplace_back("pos_embed");
  }
  const std::string kernel = "patch_embed.proj.weight";
  if (differs(kernel.c_str(), 4, 0) && file.at(kernel).size(1) == own.at(kernel).size(1)) {
    file[kernel] = vit::resize_patch_embed(file.at(kernel), own.at(kernel).size(2));
    resized.push_back(kernel);
  }
  return resized;
}

bool is_shadow(const std::string& name) {
  constexpr std::array<std::string_view, 4> kStarts = {"head_dist.", "head_shadow.", "fc_shadow.",
                                                       "dist_token"};
  return std::any_of(kStarts.begin(), kStarts.end(),
                     [&](std::string_view start) { return name.starts_with(start); });
}

// The file's tensors under our names. What stood beside the network in its wrapper and is none of
// the model's is left out, and told in `left_out`.
TensorMap under_our_names(const WeightFile& file, const std::string& model, const TensorMap& own,
                          std::vector<std::string>& left_out) {
  TensorMap state = to_ours(model, file.tensors, own);
  for (const std::string& name : file.beside) {
    if (!own.contains(name) && state.erase(name) > 0) left_out.push_back(name);
  }
  return state;
}

// A model of as many classes as the file's class head has rows, if it has one; most files for
// ImageNet need no second try.
std::unique_ptr<Model> create_for(ModelOptions options, const TensorMap& file) {
  options.num_classes = 1000;
  std::unique_ptr<Model> model = create_model(options);
  const TensorMap own = state_of(model->module());
  const TensorMap weights = to_ours(options.name, file, own);
  for (const auto& [name, tensor] : own) {
    if (!tensor.is_same(model->classifier()->weight)) continue;
    const auto found = weights.find(name);
    if (found == weights.end() || found->second.dim() != 2) break;
    options.num_classes = found->second.size(0);
    if (options.num_classes != 1000) return create_model(options);
  }
  return model;
}

}  // namespace

std::vector<std::string> head_names(Model& model) {
  const torch::nn::Linear& classifier = model.classifier();
  std::vector<std::string> names;
  for (const auto& [name, tensor] : state_of(model.module())) {
    const bool shadow = is_shadow(name) && !name.starts_with("dist_token");
    if (shadow || tensor.is_same(classifier->weight) || tensor.is_same(classifier->bias)) {
      names.push_back(name);
    }
  }
  return names;
}

LoadReport load_weights(Model& model, const WeightFile& file, const LoadRule& rule) {
  const torch::NoGradGuard no_grad;
  const TensorMap own = state_of(model.module());
  LoadReport report;
  TensorMap state = under_our_names(file, model.options().name, own, report.unused);
  if (rule.new_head) {
    for (const std::string& name : head_names(model)) {
      if (state.erase(name) > 0) report.unused.push_back(name);
      report.fresh.push_back(name);
    }
  }
  report.resized = resize_embeddings(state, own, rule.pos_embed);

  Mismatch mismatch = compare(own, state);
  const auto is_fresh = [&](const std::string& name) {
    return std::find(report.fresh.begin(), report.fresh.end(), name) != report.fresh.end();
  };
  std::erase_if(mismatch.missing, is_fresh);
  const bool nothing = std::none_of(own.begin(), own.end(), [&](const auto& item) {
    const auto found = state.find(item.first);
    return found != state.end() && found->second.sizes() == item.second.sizes();
  });
  if (!rule.strict && !nothing) {
    report.fresh.insert(report.fresh.end(), mismatch.missing.begin(), mismatch.missing.end());
    report.unused.insert(report.unused.end(), mismatch.unexpected.begin(),
                         mismatch.unexpected.end());
    mismatch.missing.clear();
    mismatch.unexpected.clear();
  }
  if (!mismatch.empty()) throw Error(describe(mismatch, own, state));
  for (const auto& [name, target] : own) {
    const auto found = state.find(name);
    if (found == state.end()) continue;
    if (found->second.is_floating_point() && !found->second.isfinite().all().item<bool>()) {
      throw Error(
          fmt::format("{} holds numbers that are not finite: the weights are damaged", name));
    }
    torch::Tensor(target).copy_(found->second);
    ++report.loaded;
  }
  return report;
}

std::unique_ptr<Model> open_model_file(const std::string& path, ModelOptions options,
                                       std::string* wrapper) {
  const WeightFile file = open_weight_file(path);
  if (wrapper) *wrapper = file.wrapper;
  try {
    std::unique_ptr<Model> model =
        options.num_classes > 0 ? create_model(options) : create_for(options, file.tensors);
    load_weights(*model, file);
    return model;
  } catch (const Error& error) {
    throw Error(fmt::format("{} as {}: {}", path, options.name, error.what()));
  } catch (const c10::Error& error) {  // options that the model cannot have
    throw Error(fmt::format("{} as {}: {}", path, options.name, error.what_without_backtrace()));
  }
}

TensorMap translated(const WeightFile& file, const ModelOptions& options) {
  const TensorMap own = state_of(create_for(options, file.tensors)->module());
  std::vector<std::string> left_out;
  TensorMap state = under_our_names(file, options.name, own, left_out);
  Mismatch mismatch = compare(own, state);
  std::erase_if(mismatch.unexpected, is_shadow);
  if (!mismatch.empty()) throw Error(describe(mismatch, own, state));
  return state;
}

}  // namespace umbra
