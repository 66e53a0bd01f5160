#include "train/weights.h"

#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "train/error.h"
#include "train/pth.h"
#include "train/weight_views.h"

namespace umbra {
namespace {

using Json = nlohmann::json;

struct DtypeName {
  const char* name;
  torch::ScalarType type;
};
constexpr std::array<DtypeName, 9> kDtypes = {{{"F64", torch::kFloat64},
                                               {"F32", torch::kFloat32},
                                               {"F16", torch::kFloat16},
                                               {"BF16", torch::kBFloat16},
                                               {"I64", torch::kInt64},
                                               {"I32", torch::kInt32},
                                               {"I16", torch::kInt16},
                                               {"U8", torch::kUInt8},
                                               {"BOOL", torch::kBool}}};

const char* name_of(torch::ScalarType type) {
  for (const DtypeName& dtype : kDtypes) {
    if (type == dtype.type) return dtype.name;
  }
  TORCH_CHECK(false, "safetensors cannot hold ", type);
}

// Position embeddings and heads may differ in shape; everything else must fit.
bool is_head(const std::string& name) {
  constexpr std::array<std::string_view, 6> kHeads = {"head.", "head_dist.", "head_shadow.",
                                                      "fc.",   "fc_shadow.", "linear."};
  return std::any_of(kHeads.begin(), kHeads.end(),
                     [&](std::string_view head) { return name.starts_with(head); });
}

std::string sizes(const torch::Tensor& tensor) {
  return fmt::format("[{}]", fmt::join(tensor.sizes(), ", "));
}

// At most `limit` of the lines, then how many more.
std::string some(const std::vector<std::string>& lines, size_t limit = 8) {
  std::string text;
  for (size_t i = 0; i < std::min(limit, lines.size()); ++i) text += "\n  " + lines[i];
  if (lines.size() > limit) text += fmt::format("\n  ... and {} more", lines.size() - limit);
  return text;
}

// The rows of `old` at the new grid: prefix rows that the file lacks stay
// fresh.
torch::Tensor resized_pos_embed(const torch::Tensor& old, const torch::Tensor& fresh,
                                int64_t old_prefix, int64_t new_prefix, vit::PosEmbedResize rule) {
  const auto grid =
      static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(fresh.size(1) - new_prefix))));
  const torch::Tensor resized = vit::resize_pos_embed(old, old_prefix, grid, rule);
  const int64_t shared = std::min(old_prefix, new_prefix);
  return torch::cat(
      {resized.narrow(1, 0, shared), fresh.narrow(1, shared, new_prefix - shared).to(old.dtype()),
       resized.narrow(1, old_prefix, resized.size(1) - old_prefix)},
      1);
}

bool is_square(int64_t number) {
  const int64_t root = std::lround(std::sqrt(static_cast<double>(number)));
  return root * root == number;
}

// Rows of the position embedding that belong to tokens: one for each, or none
// (DeiT-III).
int64_t prefix_rows(const TensorMap& state) {
  const int64_t tokens = std::count_if(state.begin(), state.end(), [](const auto& item) {
    return item.first == "cls_token" || item.first.starts_with("dist_token");
  });
  const auto pos_embed = state.find("pos_embed");
  if (pos_embed == state.end() || pos_embed->second.dim() != 3) return tokens;
  const int64_t rows = pos_embed->second.size(1);
  return !is_square(rows - tokens) && is_square(rows) ? 0 : tokens;
}

}  // namespace

TensorMap read_safetensors(const std::string& path) { return read_tensors(path, view_safetensors); }

void write_safetensors(const std::string& path, const TensorMap& tensors) {
  Json header = Json::object();
  std::vector<torch::Tensor> ordered;
  uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    ordered.push_back(tensor.detach().to(torch::kCPU).contiguous());
    const uint64_t end = offset + ordered.back().nbytes();
    header[name] = {{"dtype", name_of(tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // aligns the data
  const uint64_t header_size = text.size();

  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file) throw Error(fmt::format("{}: cannot write: {}", path, std::strerror(errno)));
  bool ok = std::fwrite(&header_size, 8, 1, file) == 1;
  ok = ok && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  for (const torch::Tensor& tensor : ordered) {
    ok = ok && std::fwrite(tensor.data_ptr(), 1, tensor.nbytes(), file) == tensor.nbytes();
  }
  ok = ok && std::fflush(file) == 0 && fsync(fileno(file)) == 0;
  const int error = errno;
  ok = std::fclose(file) == 0 && ok;
  if (!ok) throw Error(fmt::format("{}: cannot write: {}", path, std::strerror(error)));
}

TensorMap state_of(const torch::nn::Module& module) {
  TensorMap state;
  for (const auto& item : module.named_parameters()) state.emplace(item.key(), item.value());
  for (const auto& item : module.named_buffers()) state.emplace(item.key(), item.value());
  return state;
}

void load_state(torch::nn::Module& module, const TensorMap& state) {
  const torch::NoGradGuard no_grad;
  const TensorMap own = state_of(module);
  std::vector<std::string> problems;
  for (const auto& [name, tensor] : own) {
    const auto found = state.find(name);
    if (found == state.end()) {
      // Files of PyTorch 0.4 and before have no batch counters.
      if (!name.ends_with("num_batches_tracked")) problems.push_back("missing: " + name);
    } else if (found->second.sizes() != tensor.sizes()) {
      problems.push_back(
          fmt::format("shape of {}: file {}, model {}", name, sizes(found->second), sizes(tensor)));
    }
  }
  for (const auto& [name, tensor] : state) {
    if (!own.contains(name)) problems.push_back("unexpected: " + name);
  }
  if (!problems.empty()) {
    throw Error(fmt::format("the weights do not fit the model:{}", some(problems)));
  }
  for (const auto& [name, tensor] : state) torch::Tensor(own.at(name)).copy_(tensor);
}

PartialLoad load_partial(torch::nn::Module& module, TensorMap state, vit::PosEmbedResize rule) {
  const torch::NoGradGuard no_grad;
  const TensorMap own = state_of(module);
  PartialLoad result;
  std::vector<std::string> problems;
  const int64_t old_prefix = prefix_rows(state), new_prefix = prefix_rows(own);
  for (const auto& [name, target] : own) {
    const auto found = state.find(name);
    if (found == state.end()) {
      result.fresh.push_back(name);
      continue;
    }
    torch::Tensor source = found->second;
    if (name == "pos_embed" && source.dim() == 3 && source.size(2) == target.size(2) &&
        source.size(1) != target.size(1)) {
      source = resized_pos_embed(source, target, old_prefix, new_prefix, rule);
      result.resized.push_back(name);
    }
    if (source.sizes() == target.sizes()) {
      torch::Tensor(target).copy_(source);
      ++result.loaded;
    } else if (is_head(name)) {
      result.fresh.push_back(name);
    } else {
      problems.push_back(fmt::format("{}: file {}, model {}", name, sizes(source), sizes(target)));
    }
  }
  for (const auto& [name, tensor] : state) {
    if (!own.contains(name)) result.unused.push_back(name);
  }
  if (!problems.empty() || result.loaded == 0) {
    throw Error(
        problems.empty()
            ? std::string("no name in the file is one of the model's")
            : fmt::format("the file is of another architecture; shapes differ:{}", some(problems)));
  }
  return result;
}

}  // namespace umbra
