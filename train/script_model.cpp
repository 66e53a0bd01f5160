#include "train/script_model.h"

#include <torch/script.h>

#include "train/error.h"

namespace umbra {
namespace {

// The script as a module of the C++ front end, so that devices and modes reach it.
class ScriptModule : public torch::nn::Module {
 public:
  explicit ScriptModule(torch::jit::Module script) : script_(std::move(script)) {
    int64_t i = 0;
    for (const torch::Tensor& parameter : script_.parameters()) {
      register_parameter(fmt::format("parameter_{}", i++), parameter, parameter.requires_grad());
    }
    for (const torch::Tensor& buffer : script_.buffers()) {
      register_buffer(fmt::format("buffer_{}", i++), buffer);
    }
  }

  using torch::nn::Module::to;
  void to(torch::Device device, bool non_blocking) override { script_.to(device, non_blocking); }
  void train(bool on) override {
    torch::nn::Module::train(on);
    script_.train(on);
  }

  c10::IValue operator()(const torch::Tensor& images) { return script_.forward({images}); }

 private:
  torch::jit::Module script_;
};

class ScriptModel : public Model {
 public:
  ScriptModel(const std::string& path, torch::jit::Module script)
      : Model({}), module_(std::make_shared<ScriptModule>(std::move(script))), path_(path) {}

  void probe(int64_t in_chans, int64_t image_size) {
    const torch::NoGradGuard no_grad;
    module_->eval();
    options_.name = "torchscript";
    options_.in_chans = in_chans;
    options_.num_classes =
        forward(torch::zeros({1, in_chans, image_size, image_size})).logits.size(1);
  }

  // Of several outputs the first one counts.
  ModelOutput forward(const torch::Tensor& images) override {
    c10::IValue result = (*module_)(images);
    if (result.isTuple() && !result.toTupleRef().elements().empty()) {
      result = result.toTupleRef().elements()[0];
    }
    if (!result.isTensor() || result.toTensor().dim() != 2 ||
        result.toTensor().size(0) != images.size(0)) {
      throw Error(fmt::format("{}: its forward gives {}, wanted logits [{}, classes]", path_,
                              result.isTensor()
                                  ? fmt::format("[{}]", fmt::join(result.toTensor().sizes(), ", "))
                                  : result.type()->str(),
                              images.size(0)));
    }
    ModelOutput output;
    output.logits = result.toTensor();
    return output;
  }

  torch::nn::Module& module() override { return *module_; }
  const torch::nn::Linear& classifier() override {
    throw Error(path_ + " is a TorchScript file: it gives logits, and nothing to look into");
  }

 private:
  std::shared_ptr<ScriptModule> module_;
  std::string path_;
};

// What torch says without its call stacks: the line of the error itself, else the first one.
std::string gist(const std::string& text) {
  constexpr std::string_view kError = "RuntimeError: ";
  const size_t at = text.find(kError);
  const std::string rest = at == std::string::npos ? text : text.substr(at + kError.size());
  return rest.substr(0, rest.find('\n'));
}

}  // namespace

std::unique_ptr<Model> open_torchscript(const std::string& path, int64_t in_chans,
                                        int64_t image_size) {
  std::unique_ptr<ScriptModel> model;
  try {
    model = std::make_unique<ScriptModel>(path, torch::jit::load(path, torch::kCPU));
  } catch (const std::exception& error) {
    throw Error(fmt::format(
        "{}: cannot be read as TorchScript: {}. Make it in Python: torch.jit.trace(model.eval(), "
        "images).save('{}')",
        path, gist(error.what()), path));
  }
  try {
    model->probe(in_chans, image_size);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Error(fmt::format("{}: fails on images [1, {}, {}, {}]: {}", path, in_chans, image_size,
                            image_size, gist(error.what())));
  }
  return model;
}

}  // namespace umbra
