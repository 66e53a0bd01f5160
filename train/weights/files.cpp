#include "train/weights/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>

#include <nlohmann/json.hpp>

#include "train/error.h"
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

std::string_view safetensors_name(torch::ScalarType type) {
  for (const auto& [ours, torchs] : kTypes) {
    if (torchs == type && !info_of(ours).safetensors.empty()) return info_of(ours).safetensors;
  }
  TORCH_CHECK(false, "safetensors cannot hold ", type);
}

torch::Tensor copied(const TensorView& view) {
  torch::Tensor tensor = torch::empty(view.sizes, type_of(view.dtype));
  copy_elements(view, {static_cast<uint8_t*>(tensor.data_ptr()), tensor.nbytes()});
  return tensor;
}

// A .safetensors file starts with eight bytes of length and its JSON header.
TensorViews view_weights(std::span<const uint8_t> file) {
  return file.size() > 8 && file[8] == '{' ? view_safetensors(file) : view_pth(file);
}

struct Prefix {
  std::string_view text;
  bool of_all;  // or of most
};
constexpr std::array<Prefix, 5> kPrefixes = {{{"module.", true},
                                              {"_orig_mod.", true},
                                              {"student.", false},
                                              {"backbone.", false},
                                              {"encoder.", true}}};

bool applies(const Prefix& prefix, const TensorMap& tensors) {
  const auto count =
      static_cast<size_t>(std::count_if(tensors.begin(), tensors.end(), [&](const auto& item) {
        return item.first.size() > prefix.text.size() && item.first.starts_with(prefix.text);
      }));
  return prefix.of_all ? count > 0 && count == tensors.size() : 2 * count > tensors.size();
}

TensorMap peel(const TensorMap& tensors, std::string_view prefix,
               std::vector<std::string>* others) {
  TensorMap peeled;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(prefix)) peeled.emplace(name.substr(prefix.size()), tensor);
  }
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(prefix)) continue;
    peeled.emplace(name, tensor);
    if (others) others->push_back(name);
  }
  return peeled;
}

// Copies the tensors of a file, as `view` finds them.
TensorMap read_tensors(const std::string& path, TensorViews (*view)(std::span<const uint8_t>)) {
  try {
    const MappedFile file(path);
    TensorMap tensors;
    for (const auto& [name, found] : view(file.bytes())) tensors.emplace(name, copied(found));
    return tensors;
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", path, error.what()));
  }
}

}  // namespace

TensorMap read_weight_file(const std::string& path) { return read_tensors(path, view_weights); }

TensorMap read_safetensors(const std::string& path) { return read_tensors(path, view_safetensors); }

void write_safetensors(const std::string& path, const TensorMap& tensors) {
  nlohmann::json header = nlohmann::json::object();
  std::vector<torch::Tensor> ordered;
  uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    ordered.push_back(tensor.detach().to(torch::kCPU).contiguous());
    const uint64_t end = offset + ordered.back().nbytes();
    header[name] = {{"dtype", safetensors_name(tensor.scalar_type())},
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

TensorMap peel_prefixes(TensorMap tensors, std::vector<std::string>* others) {
  if (others) others->clear();
  for (bool again = true; again;) {
    again = false;
    for (const Prefix& prefix : kPrefixes) {
      if (!applies(prefix, tensors)) continue;
      tensors = peel(tensors, prefix.text, others);
      again = true;
    }
  }
  return tensors;
}

}  // namespace umbra
