// Every backbone of the table against timm, torchvision, or an independent PyTorch model:
// parameters, names, logits and stages; for one of each family also gradients and statistics.
#include <set>

#include "cnn/convnext.h"
#include "cnn/resnet.h"
#include "tests/parity/truth.h"
#include "train/model.h"

namespace umbra::test {
namespace {

constexpr double kTolerance = 1e-5;

int64_t parameters_of(const std::string& name, int64_t num_classes) {
  cnn::CnnOptions options;
  options.num_classes = num_classes;
  return count_parameters(*cnn::create(name, options));
}

TEST(ZooParity, EveryBackboneHasItsReferencesParameters) {
  const nlohmann::json resnets = facts("cifar_resnets"), cifar = facts("cifar_zoo"),
                       imagenet = facts("imagenet_zoo");
  for (const std::string& name : cnn::names()) {
    SCOPED_TRACE(name);
    if (resnets.contains(name)) {
      EXPECT_EQ(parameters_of(name, 100), resnets.at(name).get<int64_t>());
    } else if (cifar.contains(name)) {
      EXPECT_EQ(parameters_of(name, 100), cifar.at(name).at("parameters").get<int64_t>());
    } else {
      ASSERT_TRUE(imagenet.contains(name)) << "no reference";
      EXPECT_EQ(parameters_of(name, 1000), imagenet.at(name).at("parameters").get<int64_t>());
    }
  }
}

TEST(ZooParity, CifarNetworksHaveTheirReferencesNamesAndShapes) {
  const nlohmann::json zoo = facts("cifar_zoo");
  ASSERT_GE(zoo.size(), 18U);
  for (const auto& [name, fact] : zoo.items()) {
    cnn::CnnOptions options;
    options.num_classes = 100;
    std::map<std::string, std::vector<int64_t>> shapes;
    for (const auto& [key, tensor] : state_of(*cnn::create(name, options))) {
      shapes[key] = tensor.sizes().vec();
    }
    EXPECT_EQ(shapes, (fact.at("state").get<std::map<std::string, std::vector<int64_t>>>()))
        << name;
  }
}

// The backbone of that name with filled weights, run on the recorded images; its logits are
// compared.
cnn::CnnOutput filled_output(const std::string& name, int64_t num_classes,
                             const TensorMap& expected) {
  cnn::CnnOptions options;
  options.num_classes = num_classes;
  const auto model = cnn::create(name, options);
  fill(state_of(*model), expected.at("noise"));
  model->eval();
  cnn::CnnOutput output = model->forward(expected.at("input"));
  expect_close(output.logits, expected.at(name + "/logits"), kTolerance);
  return output;
}

// Stages that were recorded before their activation.
void expect_sums(const std::string& name, const cnn::CnnOutput& output, size_t count,
                 bool ends_in_relu, const TensorMap& expected) {
  ASSERT_EQ(output.stages.size(), count);
  for (size_t i = 0; i < count; ++i) {
    const torch::Tensor& sum = expected.at(fmt::format("{}/stage/{}", name, i));
    expect_close(output.stages[i].pre, sum, kTolerance);
    expect_close(output.stages[i].post, ends_in_relu ? torch::relu(sum) : sum, kTolerance);
  }
}

TEST(ZooParity, EveryImageNetNetworkHasItsReferencesLogitsAndStages) {
  const torch::NoGradGuard no_grad;
  const TensorMap expected = truth("imagenet_zoo");
  const nlohmann::json zoo = facts("imagenet_zoo");
  ASSERT_GE(zoo.size(), 29U);
  for (const auto& [name, fact] : zoo.items()) {
    SCOPED_TRACE(name);
    const cnn::CnnOutput output = filled_output(name, fact.at("num_classes"), expected);
    const auto names = fact.at("stages").get<std::vector<std::string>>();
    expect_sums(name, output, names.size(), fact.at("ends_in_relu"), expected);
    for (size_t i = 0; i < names.size(); ++i) EXPECT_EQ(output.stages.at(i).name, names[i]);
  }
}

TEST(ZooParity, EveryCifarNetworkHasItsReferencesLogitsAndStages) {
  const torch::NoGradGuard no_grad;
  const TensorMap expected = truth("cifar_zoo");
  const nlohmann::json zoo = facts("cifar_zoo");
  for (const auto& [name, fact] : zoo.items()) {
    SCOPED_TRACE(name);
    const cnn::CnnOutput output = filled_output(name, fact.at("num_classes"), expected);
    ASSERT_EQ(output.stages.size(), part(expected, name + "/post").size());
    for (size_t i = 0; i < output.stages.size(); ++i) {
      expect_close(output.stages[i].pre, expected.at(fmt::format("{}/pre/{}", name, i)),
                   kTolerance);
      expect_close(output.stages[i].post, expected.at(fmt::format("{}/post/{}", name, i)),
                   kTolerance);
    }
  }
}

TEST(ZooParity, EveryCifarResNetHasItsReferencesLogitsAndStages) {
  const torch::NoGradGuard no_grad;
  const TensorMap expected = truth("cifar_resnets");
  const nlohmann::json resnets = facts("cifar_resnets");
  ASSERT_GE(resnets.size(), 9U);
  for (const auto& [name, parameters] : resnets.items()) {
    SCOPED_TRACE(name);
    const cnn::CnnOutput output = filled_output(name, 100, expected);
    expect_sums(name, output, 3, /*ends_in_relu=*/true, expected);
  }
}

// A network whose weights, gradients and statistics are stored. Gradients that a later batch norm
// cancels are zero but for rounding: their names are in `zero`.
void expect_same_training(cnn::Backbone& model, const TensorMap& expected,
                          const std::set<std::string>& zero) {
  load_state(model, part(expected, "weights"));
  {
    const torch::NoGradGuard no_grad;
    model.eval();
    const cnn::CnnOutput output = model.forward(expected.at("input"));
    expect_close(output.logits, expected.at("logits_eval"), kTolerance);
    ASSERT_EQ(output.stages.size(), part(expected, "post").size());
    for (size_t i = 0; i < output.stages.size(); ++i) {
      expect_close(output.stages[i].pre, expected.at(fmt::format("stage/{}", i)), kTolerance);
      expect_close(output.stages[i].post, expected.at(fmt::format("post/{}", i)), kTolerance);
    }
  }
  model.train();
  const cnn::CnnOutput output = model.forward(expected.at("input"));
  expect_close(output.logits, expected.at("logits"), kTolerance);
  (output.logits * expected.at("projection")).sum().backward();
  TensorMap gradients = gradients_of(model), wanted = part(expected, "grad");
  for (const std::string& name : zero) {
    EXPECT_LT(gradients.at(name).abs().max().item<double>(), 1e-4) << name;
    gradients.erase(name);
    wanted.erase(name);
  }
  expect_all_close(gradients, wanted, kTolerance);
  TensorMap statistics;
  for (const auto& item : model.named_buffers()) statistics[item.key()] = item.value();
  if (statistics.empty()) return;  // layer norm only
  expect_all_close(statistics, part(expected, "after"), kTolerance);
}

TEST(ZooParity, CifarNetworksTrainAsTheirReferences) {
  int64_t recorded = 0;
  const nlohmann::json zoo = facts("cifar_zoo");
  for (const auto& [name, fact] : zoo.items()) {
    if (!fact.at("recorded").get<bool>()) continue;
    SCOPED_TRACE(name);
    cnn::CnnOptions options;
    options.num_classes = fact.at("num_classes");
    expect_same_training(*cnn::create(name, options), truth(name),
                         fact.at("zero_gradients").get<std::set<std::string>>());
    ++recorded;
  }
  EXPECT_GE(recorded, 8);
}

TEST(ZooParity, ImageNetNetworksTrainAsTheirReferences) {
  int64_t recorded = 0;
  cnn::CnnOptions options;
  const nlohmann::json zoo = facts("imagenet_zoo");
  for (const auto& [name, fact] : zoo.items()) {
    if (!fact.at("recorded").get<bool>()) continue;
    SCOPED_TRACE(name);
    options.num_classes = fact.at("num_classes");
    expect_same_training(*cnn::create(name, options), truth(name), {});
    ++recorded;
  }
  EXPECT_GE(recorded, 4);
}

// Narrow members of two families, so that they can be stored.
TEST(ZooParity, ResNetDTrainsAsTimms) {
  cnn::CnnOptions options;
  options.num_classes = 10;
  cnn::ResNet model({cnn::ResNetKind::kImageNetD, 16, {32, 64, 96, 128}, {1, 2, 1, 1}, 4}, options);
  expect_same_training(model, truth("narrow_resnet_d"), {});
}

TEST(ZooParity, ConvNeXtTrainsAsTimms) {
  cnn::CnnOptions options;
  options.num_classes = 10;
  cnn::ConvNeXt model({{16, 24, 32, 48}, {1, 1, 2, 1}}, options);
  expect_same_training(model, truth("narrow_convnext"), {});
}

}  // namespace
}  // namespace umbra::test
