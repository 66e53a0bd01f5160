#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "train/error.h"
#include "train/weights/pickle.h"
#include "train/weights/views.h"
#include "train/weights/zip.h"

namespace umbra {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr size_t kMaxTensors = size_t{1} << 17;
constexpr int64_t kMaxGrowth = 8;                  // of the tensors against the file
constexpr int64_t kFreeGrowth = int64_t{1} << 24;  // bytes that any file may take

std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

[[noreturn]] void damaged(const std::string& reason) {
  throw Error(fmt::format("a damaged checkpoint: {}. Fetch it again", reason));
}

int64_t integer_of(const PickleValue& value, const char* what) {
  if (value.kind == PickleKind::kInt) return value.integer;
  damaged(fmt::format("{} is no number", what));
}

std::vector<int64_t> integers_of(const Pickle& pickle, const PickleValue& value, const char* what) {
  constexpr size_t kMax = 64;  // any number of dimensions that torch knows
  const bool sequence = value.kind == PickleKind::kTuple || value.kind == PickleKind::kList;
  if (!sequence || value.items.size() > kMax) damaged(fmt::format("{} are no list", what));
  std::vector<int64_t> numbers;
  for (const PickleId id : value.items) numbers.push_back(integer_of(pickle[id], what));
  return numbers;
}

// A storage as the pickle describes it.
struct StorageInfo {
  std::string_view key;
  DType dtype = DType::kUInt8;
  uint64_t size = 0;  // bytes
};

StorageInfo storage_info(const Pickle& pickle, const PickleValue& storage) {
  const PickleValue &type = pickle[storage.items[0]], &key = pickle[storage.items[1]];
  const int64_t count = integer_of(pickle[storage.items[3]], "the length of a storage");
  if (type.kind != PickleKind::kGlobal || type.global != PickleGlobal::kStorage) {
    throw Error(
        fmt::format("a tensor lies in {}, wanted a storage of torch "
                    "(quantised ones cannot be read). Save it "
                    "as float32",
                    pickle.name_of(type)));
  }
  StorageInfo info{key.text, type.dtype, 0};
  if (key.kind != PickleKind::kStr) damaged("a storage without a key");
  if (count < 0 ||
      __builtin_mul_overflow(static_cast<uint64_t>(count),
                             static_cast<uint64_t>(info_of(type.dtype).size), &info.size)) {
    damaged(fmt::format("a storage of {} elements", count));
  }
  return info;
}

using StorageFinder = std::function<Bytes(std::string_view key)>;

// Finds the state dict in what was pickled, and where its tensors lie.
class StateReader {
 public:
  StateReader(const Pickle& pickle, StorageFinder find) : pickle_(pickle), find_(std::move(find)) {}

  TensorViews read(size_t file_size, std::string* wrapper) {
    const PickleValue& state = state_dict(wrapper);
    for (size_t i = 0; i < state.items.size(); i += 2) {
      take(pickle_[state.items[i]], pickle_[state.items[i + 1]]);
    }
    check_growth(file_size);
    return std::move(views_);
  }

 private:
  const PickleValue& state_dict(std::string* taken) const {
    // timm's order (models/_helpers.py), then what others use.
    constexpr std::array<std::string_view, 10> kWrappers = {
        "state_dict_ema", "model_ema",        "state_dict", "model", "module", "net",
        "student",        "model_state_dict", "params_ema", "params"};
    const PickleValue& root = pickle_.root();
    if (root.kind != PickleKind::kDict) refuse(root);
    const PickleValue* whole = nullptr;
    for (const std::string_view wrapper : kWrappers) {
      const PickleValue* inner = find_item(root, wrapper);
      if (inner && holds_tensors(*inner)) {
        if (taken) *taken = wrapper;
        return *inner;
      }
      if (inner && !whole && inner->kind == PickleKind::kOpaque) whole = inner;
    }
    if (holds_tensors(root)) return root;
    if (whole) refuse(*whole);
    throw Error(
        fmt::format("holds no state dict: no tensors among its keys ({}), nor in a dict "
                    "under one of {}. Save "
                    "the weights alone: torch.save(model.state_dict(), 'weights.pth')",
                    keys_of(root), fmt::join(kWrappers, ", ")));
  }

  [[noreturn]] void refuse(const PickleValue& value) const {
    throw Error(
        fmt::format("holds {} where a state dict (a dict of tensors) "
                    "is wanted. Whole pickled models cannot be "
                    "read: save the weights alone, "
                    "torch.save(model.state_dict(), 'weights.pth')",
                    pickle_.name_of(value)));
  }

  const PickleValue* find_item(const PickleValue& dict, std::string_view name) const {
    for (size_t i = 0; i < dict.items.size(); i += 2) {
      const PickleValue& key = pickle_[dict.items[i]];
      if (key.kind == PickleKind::kStr && key.text == name) return &pickle_[dict.items[i + 1]];
    }
    return nullptr;
  }

  bool holds_tensors(const PickleValue& dict) const {
    if (dict.kind != PickleKind::kDict) return false;
    for (size_t i = 1; i < dict.items.size(); i += 2) {
      const PickleValue& value = pickle_[dict.items[i]];
      if (value.kind == PickleKind::kTensor || is_odd_tensor(value)) return true;
    }
    return false;
  }

  // Sparse, quantised, nested, ...
  bool is_odd_tensor(const PickleValue& value) const {
    if (value.kind != PickleKind::kOpaque || value.items.empty()) return false;
    const PickleValue& global = pickle_[value.items[0]];
    return pickle_[global.items[0]].text == "torch._utils" &&
           pickle_[global.items[1]].text.starts_with("_rebuild_");
  }

  std::string keys_of(const PickleValue& dict) const {
    constexpr size_t kMax = 8;
    std::vector<std::string> keys;
    for (size_t i = 0; i < dict.items.size() && keys.size() < kMax; i += 2) {
      const PickleValue& key = pickle_[dict.items[i]];
      keys.push_back(key.kind == PickleKind::kStr ? shown(key.text) : pickle_.name_of(key));
    }
    if (dict.items.size() > 2 * kMax) keys.emplace_back("...");
    return keys.empty() ? "none" : fmt::format("{}", fmt::join(keys, ", "));
  }

  void take(const PickleValue& key, const PickleValue& value) {
    const std::string name = shown(key.text);
    if (is_odd_tensor(value)) {
      throw Error(
          fmt::format("'{}' is built by {}, wanted a dense tensor. "
                      "Save it as one: tensor.dequantize(), "
                      "tensor.to_dense() or tensor.resolve_conj()",
                      name, pickle_.name_of(value)));
    }
    if (value.kind != PickleKind::kTensor) return;
    if (key.kind != PickleKind::kStr || !is_utf8(key.text)) {
      damaged(fmt::format("the name '{}' of a tensor is no text", name));
    }
    try {
      add(std::string(key.text), view_of(value));
    } catch (const Error& error) {
      throw Error(fmt::format("'{}': {}", name, error.what()));
    }
  }

  void add(std::string name, TensorView view) {
    if (__builtin_add_overflow(total_, checked_byte_count(view), &total_) ||
        views_.size() == kMaxTensors) {
      damaged("more tensors than any file holds");
    }
    if (!views_.emplace(std::move(name), std::move(view)).second) {
      damaged("two tensors have this name");
    }
  }

  TensorView view_of(const PickleValue& tensor) {
    const PickleValue& storage = pickle_[tensor.items[0]];
    if (storage.kind != PickleKind::kStorage) {
      damaged(fmt::format("a tensor lies in {}", pickle_.name_of(storage)));
    }
    TensorView view;
    view.dtype = pickle_[storage.items[0]].dtype;
    if (tensor.items.size() > 4) view.dtype = dtype_of(pickle_[tensor.items[4]]);
    view.offset = integer_of(pickle_[tensor.items[1]], "the offset of a tensor");
    view.sizes = integers_of(pickle_, pickle_[tensor.items[2]], "the sizes of a tensor");
    view.strides = integers_of(pickle_, pickle_[tensor.items[3]], "the strides of a tensor");
    view.storage = bytes_of(storage);
    return view;
  }

  DType dtype_of(const PickleValue& value) const {
    if (value.global == PickleGlobal::kDType) return value.dtype;
    throw Error(
        fmt::format("a tensor of {}, wanted one of torch's usual "
                    "dtypes. Save it as float32",
                    pickle_.name_of(value)));
  }

  Bytes bytes_of(const PickleValue& storage) {
    const StorageInfo info = storage_info(pickle_, storage);
    const Bytes bytes = find_(info.key);
    if (bytes.size() != info.size) {
      damaged(fmt::format("the storage '{}' has {} bytes, wanted {}", shown(info.key), bytes.size(),
                          info.size));
    }
    if (storage.items.size() < 5) return bytes;
    const PickleValue& part = pickle_[storage.items[4]];
    return part.kind == PickleKind::kNone ? bytes : part_of(bytes, part, info_of(info.dtype).size);
  }

  // A view of a storage: (key, offset, count), in elements. Files of torch 0.3 and before.
  Bytes part_of(Bytes bytes, const PickleValue& part, int64_t element) const {
    if (part.kind != PickleKind::kTuple || part.items.size() != 3) damaged("no view of a storage");
    const int64_t offset = integer_of(pickle_[part.items[1]], "the offset of a storage's view");
    const int64_t count = integer_of(pickle_[part.items[2]], "the length of a storage's view");
    const auto all = static_cast<int64_t>(bytes.size()) / element;
    if (offset < 0 || count < 0 || offset > all || count > all - offset) {
      damaged(fmt::format("a view of {} elements at {} of {}", count, offset, all));
    }
    return bytes.subspan(static_cast<size_t>(offset * element),
                         static_cast<size_t>(count * element));
  }

  // Names go into other files, which must be text.
  static bool is_utf8(std::string_view text) {
    for (size_t i = 0; i < text.size();) {
      const auto lead = static_cast<uint8_t>(text[i]);
      const size_t size = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
      if (size == 0 || lead > 0xF4 || size > text.size() - i) return false;
      uint32_t code = size == 1 ? lead : lead & (0x7FU >> size);
      for (size_t j = 1; j < size; ++j) {
        const auto byte = static_cast<uint8_t>(text[i + j]);
        if (byte >> 6 != 2) return false;
        code = code << 6 | (byte & 0x3F);
      }
      const bool overlong = (size == 3 && code < 0x800) || (size == 4 && code < 0x10000);
      if (overlong || (code >= 0xD800 && code < 0xE000) || code > 0x10FFFF || code == 0) {
        return false;
      }
      i += size;
    }
    return true;
  }

  // Tensors may share a storage, or repeat its elements: a small file could ask for any memory.
  void check_growth(size_t file_size) const {
    const auto size = static_cast<int64_t>(file_size);
    if (total_ <= kFreeGrowth || (total_ - kFreeGrowth) / kMaxGrowth <= size) return;
    throw Error(
        fmt::format("its tensors would take {} bytes, from a file of {}: they "
                    "share or repeat their elements. "
                    "Save them with tensor.clone() or tensor.contiguous()",
                    total_, size));
  }

  const Pickle& pickle_;
  StorageFinder find_;
  int64_t total_ = 0;  // bytes of the tensors once copied
  TensorViews views_;
};

class ZipCheckpoint {
 public:
  explicit ZipCheckpoint(Bytes file) : file_(file) {
    for (const ZipEntry& entry : parse_zip(file)) entries_.emplace(entry.name, entry);
  }

  TensorViews read(std::string* wrapper) {
    prefix_ = find_prefix();
    refuse_other_kinds();
    const Pickle pickle(bytes_of("data.pkl"));
    StateReader reader(pickle,
                       [&](std::string_view key) { return bytes_of("data/" + std::string(key)); });
    return reader.read(file_.size(), wrapper);
  }

 private:
  // The folder in which everything lies, with its slash.
  std::string find_prefix() const {
    constexpr std::string_view kPickle = "data.pkl";
    std::vector<std::string_view> found;
    for (const auto& [name, entry] : entries_) {
      if (name == kPickle || name.ends_with("/data.pkl")) found.push_back(name);
    }
    if (found.size() == 1) {
      return std::string(found[0].substr(0, found[0].size() - kPickle.size()));
    }
    throw Error(
        fmt::format("a zip archive with {} files data.pkl, wanted one, "
                    "as torch.save writes it. Archives of "
                    "numpy, Keras or torch.export cannot be read: save "
                    "a state dict with torch.save",
                    found.size()));
  }

  void refuse_other_kinds() {
    if (has("constants.pkl")) {
      throw Error(
          "a TorchScript archive, wanted a state dict. As a teacher it needs teacher.format = "
          "\"torchscript\"; for its weights: torch.save(torch.jit.load('this file').state_dict(), "
          "'weights.pth')");
    }
    if (!has("byteorder")) return;  // torch 1.x
    const std::string_view order = text_of(bytes_of("byteorder"));
    if (order == "little") return;
    throw Error(
        fmt::format("its byte order is '{}', wanted 'little'. Save it "
                    "again on a little-endian machine",
                    shown(order)));
  }

  bool has(std::string_view name) const { return entries_.contains(prefix_ + std::string(name)); }

  // Its checksum is looked at the first time only.
  Bytes bytes_of(std::string_view name) {
    const auto found = entries_.find(prefix_ + std::string(name));
    if (found == entries_.end()) {
      damaged(fmt::format("the archive has no '{}'", shown(prefix_ + std::string(name))));
    }
    const bool first = checked_.insert(found->first).second;
    return first ? checked_bytes(found->second) : found->second.bytes;
  }

  Bytes file_;
  std::map<std::string_view, ZipEntry, std::less<>> entries_;
  std::set<std::string_view> checked_;
  std::string prefix_;
};

// Files of torch before 1.6: four pickles (a magic number, the version, the writer's types, what
// was saved), a fifth with the keys of the storages, and these, each behind the number of its
// elements.
class LegacyCheckpoint {
 public:
  explicit LegacyCheckpoint(Bytes file) : file_(file) {}

  TensorViews read(std::string* wrapper) {
    check_magic();
    check_version();
    check_system();
    const Pickle pickle(file_.subspan(at_));
    at_ += pickle.size();
    note_sizes(pickle);
    read_storages();
    StateReader reader(pickle, [&](std::string_view key) {
      const auto found = storages_.find(key);
      if (found == storages_.end()) {
        damaged(fmt::format("the storage '{}' is missing", shown(key)));
      }
      return found->second;
    });
    return reader.read(file_.size(), wrapper);
  }

 private:
  void check_magic() {
    constexpr std::string_view kBytes("\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10);
    constexpr std::string_view kDigits = "119547037146038801333356";
    const Pickle magic(file_);
    at_ = magic.size();
    const PickleValue& root = magic.root();
    if (root.kind == PickleKind::kLong && (root.text == kBytes || root.text == kDigits)) return;
    throw Error(
        fmt::format("a pickle of {} that torch.save has not written, wanted a "
                    "checkpoint of PyTorch. Save its "
                    "weights with torch.save(state_dict, 'weights.pth')",
                    magic.name_of(root)));
  }

  void check_version() {
    const Pickle version(file_.subspan(at_));
    at_ += version.size();
    const int64_t number = integer_of(version.root(), "the version");
    if (number != 1001) throw Error(fmt::format("version {}, wanted 1001. Save it again", number));
  }

  void check_system() {
    const Pickle system(file_.subspan(at_));
    at_ += system.size();
    const auto& items = system.root().items;
    if (system.root().kind != PickleKind::kDict) damaged("the writer's types are missing");
    for (size_t i = 0; i < items.size(); i += 2) {
      const PickleValue& value = system[items[i + 1]];
      if (system[items[i]].text != "little_endian" || value.integer == 1) continue;
      throw Error(
          "written on a big-endian machine. Save it again on a "
          "little-endian one");
    }
  }

  // The first tensor that uses a storage says how long it is, as in torch.
  void note_sizes(const Pickle& pickle) {
    for (const PickleValue& value : pickle.values()) {
      if (value.kind != PickleKind::kStorage) continue;
      const PickleValue& type = pickle[value.items[0]];
      if (type.kind != PickleKind::kGlobal || type.global != PickleGlobal::kStorage) continue;
      const StorageInfo info = storage_info(pickle, value);
      infos_.emplace(info.key, info);
    }
  }

  void read_storages() {
    const Pickle keys(file_.subspan(at_));
    at_ += keys.size();
    if (keys.root().kind != PickleKind::kList) damaged("the list of storages is missing");
    for (const PickleId id : keys.root().items) read_storage(keys[id].text);
  }

  void read_storage(std::string_view key) {
    const auto found = infos_.find(key);
    if (found == infos_.end()) damaged(fmt::format("no tensor uses storage '{}'", shown(key)));
    const StorageInfo& info = found->second;
    uint64_t count = 0, size = 0;
    const Bytes head = take(8);
    for (size_t i = 8; i-- > 0;) count = count << 8 | head[i];
    if (__builtin_mul_overflow(count, static_cast<uint64_t>(info_of(info.dtype).size), &size) ||
        size != info.size) {
      damaged(fmt::format("storage '{}' has {} elements of {}, wanted {} bytes", shown(key), count,
                          info_of(info.dtype).torch, info.size));
    }
    if (!storages_.emplace(info.key, take(size)).second) {
      damaged(fmt::format("storage '{}' comes twice", shown(key)));
    }
  }

  Bytes take(uint64_t size) {
    if (size > file_.size() - at_) {
      damaged(fmt::format("{} bytes wanted at {} of {}: truncated", size, at_, file_.size()));
    }
    const Bytes bytes = file_.subspan(at_, size);
    at_ += size;
    return bytes;
  }

  Bytes file_;
  size_t at_ = 0;
  std::unordered_map<std::string_view, StorageInfo> infos_;
  std::unordered_map<std::string_view, Bytes> storages_;
};

struct Kind {
  std::string_view start;
  const char* message;
};
constexpr std::array<Kind, 7> kOthers = {{
    {"", "empty, wanted a checkpoint of PyTorch. Fetch it again"},
    {"version https://git-lfs", "only a pointer of Git LFS. Fetch the file: git lfs pull"},
    {"<",
     "a web page or XML, wanted a checkpoint of PyTorch. Fetch it from "
     "the file's own address"},
    {"\x1f\x8b", "compressed with gzip. Unpack it with gunzip"},
    {"\x89HDF\r\n", "an HDF5 file of Keras, wanted a checkpoint of PyTorch"},
    {"\x93NUMPY", "an array of numpy, wanted a checkpoint of PyTorch"},
    {"PK\x05\x06", "an empty zip archive, wanted a checkpoint of PyTorch. Fetch it again"},
}};

void refuse_others(std::string_view file) {
  constexpr size_t kTarMagic = 257;
  for (const Kind& kind : kOthers) {
    if (kind.start.empty() ? file.empty() : file.starts_with(kind.start)) throw Error(kind.message);
  }
  if (file.size() <= kTarMagic || !file.substr(kTarMagic).starts_with("ustar")) return;
  throw Error(
      "a tar archive: either the layout of PyTorch 0.1, or an archive "
      "to unpack. Unpack it, or save "
      "it again with a newer PyTorch: torch.save(torch.load('this "
      "file', weights_only=False), "
      "'weights.pth')");
}

}  // namespace

TensorViews view_pth(std::span<const uint8_t> file, std::string* wrapper) {
  const std::string_view text = text_of(file);
  refuse_others(text);
  if (text.starts_with("PK\x03\x04")) return ZipCheckpoint(file).read(wrapper);
  if (text[0] != '\x80' && !text.starts_with("L119547")) {
    throw Error(
        fmt::format("starts with bytes {:02x}: neither a checkpoint of PyTorch nor a "
                    ".safetensors file. Fetch "
                    "it again, or save its weights with torch.save(state_dict, "
                    "'weights.pth')",
                    fmt::join(file.first(std::min<size_t>(file.size(), 4)), " ")));
  }
  return LegacyCheckpoint(file).read(wrapper);
}

}  // namespace umbra
