#include "train/pth.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "train/error.h"
#include "train/weight_views.h"

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

torch::ScalarType type_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return torch::kFloat64;
    case DType::kFloat32:
      return torch::kFloat32;
    case DType::kFloat16:
      return torch::kFloat16;
    case DType::kBFloat16:
      return torch::kBFloat16;
    case DType::kInt64:
      return torch::kInt64;
    case DType::kInt32:
      return torch::kInt32;
    case DType::kInt16:
      return torch::kInt16;
    case DType::kInt8:
      return torch::kInt8;
    case DType::kUInt8:
      return torch::kUInt8;
    case DType::kBool:
      return torch::kBool;
    case DType::kComplex64:
      return torch::kComplexFloat;
    case DType::kComplex128:
      return torch::kComplexDouble;
    case DType::kComplex32:
      return torch::kComplexHalf;
    case DType::kUInt16:
      return torch::kUInt16;
    case DType::kUInt32:
      return torch::kUInt32;
    case DType::kUInt64:
      return torch::kUInt64;
    case DType::kFloat8E5M2:
      return torch::kFloat8_e5m2;
    case DType::kFloat8E4M3:
      return torch::kFloat8_e4m3fn;
  }
  TORCH_CHECK(false, "no such dtype");
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

}  // namespace

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

TensorMap read_pth(const std::string& path) { return read_tensors(path, view_pth); }

TensorMap read_weight_file(const std::string& path) { return read_tensors(path, view_weights); }

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
