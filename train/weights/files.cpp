#include "train/weights/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>

#include <nlohmann/json.hpp>

#include "train/error.h"
#include "train/files.h"
#include "train/weights/views.h"

namespace umbra {
namespace {

// A file in memory while this lives: the system reads what is looked at.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path) {
    const int handle = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (handle < 0) fail();
    struct stat status {};
    const bool known = fstat(handle, &status) == 0;
    if (known && S_ISREG(status.st_mode)) size_ = static_cast<size_t>(status.st_size);
    if (size_ > 0) data_ = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, handle, 0);
    close(handle);
    if (!known || data_ == MAP_FAILED) fail();
    if (!S_ISREG(status.st_mode)) throw Error("no regular file, wanted a weight file");
  }
  ~MappedFile() {
    if (size_ > 0) munmap(data_, size_);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const uint8_t> bytes() const { return {static_cast<const uint8_t*>(data_), size_}; }

 private:
  [[noreturn]] static void fail() {
    throw Error(fmt::format("cannot open the weight file: {}", std::strerror(errno)));
  }

  void* data_ = nullptr;
  size_t size_ = 0;
};

constexpr std::array<std::pair<DType, torch::ScalarType>, 18> kTypes = {{
    {DType::kFloat64, torch::kFloat64},
    {DType::kFloat32, torch::kFloat32},
    {DType::kFloat16, torch::kFloat16},
    {DType::kBFloat16, torch::kBFloat16},
    {DType::kInt64, torch::kInt64},
    {DType::kInt32, torch::kInt32},
    {DType::kInt16, torch::kInt16},
    {DType::kInt8, torch::kInt8},
    {DType::kUInt8, torch::kUInt8},
    {DType::kBool, torch::kBool},
    {DType::kComplex64, torch::kComplexFloat},
    {DType::kComplex128, torch::kComplexDouble},
    {DType::kComplex32, torch::kComplexHalf},
    {DType::kUInt16, torch::kUInt16},
    {DType::kUInt32, torch::kUInt32},
    {DType::kUInt64, torch::kUInt64},
    {DType::kFloat8E5M2, torch::kFloat8_e5m2},
    {DType::kFloat8E4M3, torch::kFloat8_e4m3fn},
}};

torch::ScalarType type_of(DType dtype) {
  for (const auto& [ours, torchs] : kTypes) {
    if (ours == dtype) return torchs;
  }
  TORCH_CHECK(false, "no such dtype");
}

// Empty where there is none.
std::string_view safetensors_name(torch::ScalarType type) {
  for (const auto& [ours, torchs] : kTypes) {
    if (torchs == type) return info_of(ours).safetensors;
  }
  return "";
}

torch::Tensor copied(const TensorView& view) {
  torch::Tensor tensor = torch::empty(view.sizes, type_of(view.dtype));
  copy_elements(view, {static_cast<uint8_t*>(tensor.data_ptr()), tensor.nbytes()});
  return tensor;
}

// A .safetensors file starts with eight bytes of length and its JSON header.
bool is_safetensors(std::span<const uint8_t> file) { return file.size() > 8 && file[8] == '{'; }

struct Prefix {
  std::string_view text;
  bool of_all;  // or of most
};
constexpr std::array<Prefix, 7> kPrefixes = {{{"module.", true},
                                              {"_orig_mod.", true},
                                              {"student.", false},
                                              {"backbone.", false},
                                              {"encoder.", true},
                                              {"model.", true},
                                              {"net.", true}}};

int64_t count_with(std::string_view prefix, const TensorMap& tensors) {
  return std::count_if(tensors.begin(), tensors.end(), [&](const auto& item) {
    return item.first.size() > prefix.size() && item.first.starts_with(prefix);
  });
}

bool applies(const Prefix& prefix, const TensorMap& tensors) {
  const int64_t count = count_with(prefix.text, tensors), all = std::ssize(tensors);
  if (count == 0) return false;
  if (prefix.of_all) return count == all;
  return 2 * count > all || count + count_with("teacher.", tensors) == all;
}

void peel(WeightFile& file, std::string_view prefix) {
  TensorMap peeled;
  std::vector<std::string> beside;
  for (const auto& [name, tensor] : file.tensors) {
    if (name.starts_with(prefix)) peeled.emplace(name.substr(prefix.size()), tensor);
  }
  for (const auto& [name, tensor] : file.tensors) {
    if (name.starts_with(prefix) || !peeled.emplace(name, tensor).second) continue;
    beside.push_back(name);
  }
  file.tensors = std::move(peeled);
  file.beside = std::move(beside);
}

// Calls `read` with the bytes of the file; its errors name the path.
template <class Read>
auto with_file(const std::string& path, Read&& read) {
  try {
    const MappedFile file(path);
    return read(file.bytes());
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", path, error.what()));
  }
}

TensorMap copied(const TensorViews& views) {
  TensorMap tensors;
  for (const auto& [name, view] : views) tensors.emplace(name, copied(view));
  return tensors;
}

std::span<const uint8_t> bytes_of(const torch::Tensor& tensor) {
  return {static_cast<const uint8_t*>(tensor.data_ptr()), tensor.nbytes()};
}

}  // namespace

WeightFile read_weight_file(const std::string& path) {
  return with_file(path, [](std::span<const uint8_t> bytes) {
    WeightFile file;
    file.tensors =
        copied(is_safetensors(bytes) ? view_safetensors(bytes) : view_pth(bytes, &file.wrapper));
    return file;
  });
}

TensorMap read_safetensors(const std::string& path) {
  return with_file(path,
                   [](std::span<const uint8_t> bytes) { return copied(view_safetensors(bytes)); });
}

void write_safetensors(const std::string& path, const TensorMap& tensors) {
  nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
  std::vector<torch::Tensor> ordered;
  uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    ordered.push_back(tensor.detach().to(torch::kCPU).contiguous());
    const uint64_t end = offset + ordered.back().nbytes();
    const std::string_view type = safetensors_name(tensor.scalar_type());
    if (type.empty()) {
      throw Error(fmt::format("{}: safetensors has no type for {} ({})", path, name,
                              c10::toString(tensor.scalar_type())));
    }
    header[name] = {
        {"dtype", type}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // aligns the data
  const uint64_t header_size = text.size();

  std::vector<std::span<const uint8_t>> parts = {
      {reinterpret_cast<const uint8_t*>(&header_size), 8},
      {reinterpret_cast<const uint8_t*>(text.data()), text.size()}};
  for (const torch::Tensor& tensor : ordered) parts.push_back(bytes_of(tensor));
  write_file_synced(path, parts);
}

void peel_prefixes(WeightFile& file) {
  // PyTorch's AveragedModel counts beside its `module.`.
  if (count_with("module.", file.tensors) + 1 == std::ssize(file.tensors)) {
    file.tensors.erase("n_averaged");
  }
  for (bool again = true; again;) {
    again = false;
    for (const Prefix& prefix : kPrefixes) {
      if (!applies(prefix, file.tensors)) continue;
      peel(file, prefix.text);
      again = true;
    }
  }
}

WeightFile open_weight_file(const std::string& path) {
  WeightFile file = read_weight_file(path);
  peel_prefixes(file);
  return file;
}

}  // namespace umbra
