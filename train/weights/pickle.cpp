#include "train/weights/pickle.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>

#include "train/error.h"

namespace umbra {
namespace {

constexpr size_t kMaxValues = size_t{1} << 21;

struct KnownGlobal {
  std::string_view module, name;
  PickleGlobal global;
};
constexpr std::array<KnownGlobal, 11> kKnown = {{
    {"collections", "OrderedDict", PickleGlobal::kOrderedDict},
    {"torch", "Size", PickleGlobal::kSize},
    {"torch.nn.parameter", "Parameter", PickleGlobal::kParameter},
    {"torch.autograd.variable", "Variable", PickleGlobal::kParameter},
    {"torch._utils", "_rebuild_parameter", PickleGlobal::kParameter},
    {"torch._utils", "_rebuild_parameter_with_state", PickleGlobal::kParameter},
    {"torch._utils", "_rebuild_tensor", PickleGlobal::kRebuildTensor},
    {"torch._utils", "_rebuild_tensor_v2", PickleGlobal::kRebuildTensorV2},
    {"torch._utils", "_rebuild_tensor_v3", PickleGlobal::kRebuildTensorV3},
    {"torch._tensor", "_rebuild_from_type_v2", PickleGlobal::kRebuildFromType},
    {"torch.storage", "UntypedStorage", PickleGlobal::kStorage},
}};

void set_global(PickleValue& value, std::string_view module, std::string_view name) {
  for (const KnownGlobal& known : kKnown) {
    if (module == known.module && name == known.name) value.global = known.global;
  }
  const bool torch = module == "torch", stored = torch || module == "torch.cuda";
  for (const DTypeInfo& info : dtypes()) {
    const bool is_dtype = torch && name == info.torch;
    if (!is_dtype && !(stored && !info.storage.empty() && name == info.storage)) continue;
    value.global = is_dtype ? PickleGlobal::kDType : PickleGlobal::kStorage;
    value.dtype = info.dtype;
  }
  if (torch && name == "UntypedStorage") value.global = PickleGlobal::kStorage;
}

// Appends the code point in UTF-8.
void append_utf8(std::string& text, uint32_t code) {
  const auto put = [&](uint32_t byte) { text += static_cast<char>(byte); };
  const auto tail = [&](int shift) { put(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    tail(0);
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    tail(6);
    tail(0);
  } else {
    put(0xF0 | (code >> 18 & 7));
    tail(12);
    tail(6);
    tail(0);
  }
}

std::optional<uint32_t> hex_of(std::string_view digits, size_t size) {
  uint32_t code = 0;
  if (digits.size() < size) return std::nullopt;
  const char* end = digits.data() + size;
  const auto [stop, error] = std::from_chars(digits.data(), end, code, 16);
  return error == std::errc{} && stop == end ? std::optional(code) : std::nullopt;
}

}  // namespace

// The stack machine that a pickle is written for. Each step reads at least one byte and makes at
// most a few values; the one that copies others (an OrderedDict from pairs) has its own budget.
class Unpickler {
 public:
  Unpickler(std::span<const uint8_t> bytes, Pickle& pickle) : bytes_(bytes), pickle_(pickle) {}

  void run() {
    none_ = add({});
    for (const int64_t truth : {0, 1}) {
      booleans_[static_cast<size_t>(truth)] = add({.kind = PickleKind::kBool, .integer = truth});
    }
    while (true) {
      const auto op = static_cast<char>(number(1));
      if (op == '.') break;
      if (!constant(op) && !text(op) && !container(op) && !stack_or_memo(op) && !object(op)) {
        damaged(fmt::format("the unknown opcode 0x{:02x}", static_cast<uint8_t>(op)));
      }
    }
    pickle_.root_ = pop();
    pickle_.size_ = at_;
  }

 private:
  [[noreturn]] void damaged(const std::string& reason) const {
    throw Error(fmt::format("a damaged pickle at byte {}: {}. Fetch the file again", at_, reason));
  }

  // What comes next in the bytes.
  std::string_view take(uint64_t size) {
    if (size > bytes_.size() - at_) {
      damaged(fmt::format("{} bytes wanted and {} left: truncated", size, bytes_.size() - at_));
    }
    const auto* data = reinterpret_cast<const char*>(bytes_.data()) + at_;
    at_ += size;
    return {data, size};
  }
  uint64_t number(size_t size) {  // little-endian
    uint64_t value = 0;
    const std::string_view part = take(size);
    for (size_t i = size; i-- > 0;) value = value << 8 | static_cast<uint8_t>(part[i]);
    return value;
  }
  std::string_view line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + at_,
                                bytes_.size() - at_);
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) damaged("a line without end: truncated");
    at_ += end + 1;
    return rest.substr(0, end);
  }
  int64_t decimal(std::string_view digits) {
    int64_t value = 0;
    const char* end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, value);
    if (error != std::errc{} || stop != end) damaged(fmt::format("no number: {}", shown(digits)));
    return value;
  }

  // The values and the stack.
  static void check_room(size_t count) {
    if (count < kMaxValues) return;
    throw Error(
        fmt::format("more than {} Python objects, wanted weights. Save only the weights: "
                    "torch.save(checkpoint['model'], 'weights.pth')",
                    kMaxValues));
  }
  PickleId add(PickleValue value) {
    check_room(pickle_.values_.size());
    pickle_.values_.push_back(std::move(value));
    return static_cast<PickleId>(pickle_.values_.size() - 1);
  }
  PickleValue& value(PickleId id) { return pickle_.values_[id]; }
  void push(PickleId id) {
    check_room(stack_.size());
    stack_.push_back(id);
  }
  void push(PickleValue value) { stack_.push_back(add(std::move(value))); }
  void push_text(PickleKind kind, std::string_view text) { push({.kind = kind, .text = text}); }
  void push_int(int64_t number) { push({.kind = PickleKind::kInt, .integer = number}); }
  size_t bottom() const { return marks_.empty() ? 0 : marks_.back(); }

  PickleId& top() {
    if (stack_.size() <= bottom()) damaged("nothing on the stack");
    return stack_.back();
  }
  PickleId pop() {
    const PickleId id = top();
    stack_.pop_back();
    return id;
  }
  std::vector<PickleId> pop_n(size_t count) {
    if (stack_.size() - bottom() < count) damaged("too little on the stack");
    std::vector<PickleId> items(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return items;
  }
  std::vector<PickleId> pop_mark() {
    if (marks_.empty()) damaged("no mark on the stack");
    std::vector<PickleId> items = pop_n(stack_.size() - marks_.back());
    marks_.pop_back();
    return items;
  }

  bool constant(char op) {
    switch (static_cast<uint8_t>(op)) {
      case 'N':
        push(none_);
        return true;
      case 0x88:
        push(booleans_[1]);
        return true;
      case 0x89:
        push(booleans_[0]);
        return true;
      case 'J':
        push_int(static_cast<int32_t>(number(4)));
        return true;
      case 'K':
        push_int(static_cast<int64_t>(number(1)));
        return true;
      case 'M':
        push_int(static_cast<int64_t>(number(2)));
        return true;
      case 'I':
        take_int(line());
        return true;
      case 'L':
        take_long(line());
        return true;
      case 0x8a:
        take_bytes_long(take(number(1)));
        return true;
      case 0x8b:
        take_bytes_long(take(number(4)));
        return true;
      case 'F':
        take_float(line());
        return true;
      case 'G':
        take_double(take(8));
        return true;
      default:
        return false;
    }
  }

  void take_int(std::string_view digits) {
    if (digits == "00" || digits == "01") {
      push(booleans_[digits == "01"]);
    } else {
      take_long(digits);
    }
  }

  void take_long(std::string_view digits) {
    if (digits.ends_with('L')) digits.remove_suffix(1);
    constexpr size_t kSurelyFits = 18;
    if (digits.size() > kSurelyFits) return push_text(PickleKind::kLong, digits);
    push_int(decimal(digits));
  }

  // Two's complement, little-endian.
  void take_bytes_long(std::string_view bytes) {
    if (bytes.size() > 8) return push_text(PickleKind::kLong, bytes);
    uint64_t number = !bytes.empty() && (bytes.back() & 0x80) ? ~uint64_t{0} : 0;
    for (size_t i = bytes.size(); i-- > 0;) number = number << 8 | static_cast<uint8_t>(bytes[i]);
    push_int(static_cast<int64_t>(number));
  }

  void take_float(std::string_view digits) {
    double real = 0;
    const char* end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, real);
    if (stop != end || error == std::errc::invalid_argument) {
      damaged(fmt::format("no number: {}", shown(digits)));
    }
    push({.kind = PickleKind::kFloat, .real = real});
  }

  void take_double(std::string_view bytes) {
    uint64_t bits = 0;
    for (const char byte : bytes) bits = bits << 8 | static_cast<uint8_t>(byte);
    push({.kind = PickleKind::kFloat, .real = std::bit_cast<double>(bits)});
  }

  bool text(char op) {
    switch (static_cast<uint8_t>(op)) {
      case 'S':
        take_quoted(line());
        return true;
      case 'T':
        push_text(PickleKind::kStr, take(number(4)));
        return true;
      case 'U':
        push_text(PickleKind::kStr, take(number(1)));
        return true;
      case 'V':
        push_text(PickleKind::kStr, unescaped(line(), false));
        return true;
      case 'X':
        push_text(PickleKind::kStr, take(number(4)));
        return true;
      case 0x8c:
        push_text(PickleKind::kStr, take(number(1)));
        return true;
      case 0x8d:
        push_text(PickleKind::kStr, take(number(8)));
        return true;
      case 'B':
        push_text(PickleKind::kBytes, take(number(4)));
        return true;
      case 'C':
        push_text(PickleKind::kBytes, take(number(1)));
        return true;
      case 0x8e:
      case 0x96:
        push_text(PickleKind::kBytes, take(number(8)));
        return true;
      default:
        return false;
    }
  }

  void take_quoted(std::string_view text) {
    if (text.size() < 2 || text.front() != text.back() ||
        (text.front() != '\'' && text.front() != '"')) {
      damaged("a string without quotes");
    }
    push_text(PickleKind::kStr, unescaped(text.substr(1, text.size() - 2), true));
  }

  // Python's escapes: \uXXXX and \UXXXXXXXX of a unicode string; of a plain one \xXX, \n and the
  // like.
  std::string_view unescaped(std::string_view text, bool plain) {
    if (text.find('\\') == std::string_view::npos) return text;
    std::string decoded;
    while (!text.empty()) {
      const size_t used = append_char(decoded, text, plain);
      text.remove_prefix(used);
    }
    return pickle_.decoded_.emplace_back(std::move(decoded));
  }

  // Appends what the text starts with, and tells how long that was.
  static size_t append_char(std::string& decoded, std::string_view text, bool plain) {
    constexpr std::string_view kEscapes = "\\'\"ntr", kMeanings = "\\'\"\n\t\r";
    const char kind = text[0] == '\\' && text.size() > 1 ? text[1] : '\0';
    const size_t digits = plain ? 2 * (kind == 'x') : 4 * (kind == 'u') + 8 * (kind == 'U');
    if (digits > 0) {
      if (const auto code = hex_of(text.substr(2), digits)) {
        append_utf8(decoded, *code);
        return 2 + digits;
      }
    }
    const size_t escape = plain && kind ? kEscapes.find(kind) : std::string_view::npos;
    decoded += escape == std::string_view::npos ? text[0] : kMeanings[escape];
    return escape == std::string_view::npos ? 1 : 2;
  }

  bool container(char op) {
    switch (static_cast<uint8_t>(op)) {
      case ']':
        push({.kind = PickleKind::kList});
        return true;
      case '}':
        push({.kind = PickleKind::kDict});
        return true;
      case ')':
        push({.kind = PickleKind::kTuple});
        return true;
      case 0x8f:
        push({.kind = PickleKind::kOpaque});
        return true;  // a set
      case 'l':
        push_items(PickleKind::kList, pop_mark());
        return true;
      case 't':
        push_items(PickleKind::kTuple, pop_mark());
        return true;
      case 'd':
        push_items(PickleKind::kDict, pop_mark());
        return true;
      case 0x91:
        push_items(PickleKind::kOpaque, (pop_mark(), std::vector<PickleId>{}));
        return true;
      case 0x85:
        push_items(PickleKind::kTuple, pop_n(1));
        return true;
      case 0x86:
        push_items(PickleKind::kTuple, pop_n(2));
        return true;
      case 0x87:
        push_items(PickleKind::kTuple, pop_n(3));
        return true;
      case 'a':
        extend(PickleKind::kList, pop_n(1));
        return true;
      case 'e':
        extend(PickleKind::kList, pop_mark());
        return true;
      case 's':
        extend(PickleKind::kDict, pop_n(2));
        return true;
      case 'u':
        extend(PickleKind::kDict, pop_mark());
        return true;
      case 0x90:
        extend(PickleKind::kOpaque, pop_mark());
        return true;
      default:
        return false;
    }
  }

  void push_items(PickleKind kind, std::vector<PickleId> items) {
    if (kind == PickleKind::kDict && items.size() % 2 != 0) damaged("a key without a value");
    push({.kind = kind, .items = std::move(items)});
  }

  // Opaque objects swallow what is put into them.
  void extend(PickleKind kind, const std::vector<PickleId>& items) {
    PickleValue& target = value(top());
    if (target.kind == PickleKind::kOpaque) return;
    if (target.kind != kind) damaged("items are added to what is no container of their kind");
    if (kind == PickleKind::kDict && items.size() % 2 != 0) damaged("a key without a value");
    target.items.insert(target.items.end(), items.begin(), items.end());
  }

  bool stack_or_memo(char op) {
    switch (static_cast<uint8_t>(op)) {
      case '(':
        mark();
        return true;
      case '0':
        drop();
        return true;
      case '1':
        pop_mark();
        return true;
      case '2':
        push(PickleId{top()});
        return true;
      case 'p':
        put(static_cast<uint64_t>(decimal(line())));
        return true;
      case 'q':
        put(number(1));
        return true;
      case 'r':
        put(number(4));
        return true;
      case 0x94:
        put(memo_.size());
        return true;
      case 'g':
        get(static_cast<uint64_t>(decimal(line())));
        return true;
      case 'h':
        get(number(1));
        return true;
      case 'j':
        get(number(4));
        return true;
      case 0x80:
        check_protocol(number(1));
        return true;
      case 0x95:
        check_frame(number(8));
        return true;
      default:
        return false;
    }
  }

  void mark() {
    check_room(marks_.size());
    marks_.push_back(stack_.size());
  }

  // As in Python, on a mark this takes the mark.
  void drop() {
    if (!marks_.empty() && stack_.size() == marks_.back()) {
      marks_.pop_back();
    } else {
      pop();
    }
  }

  void put(uint64_t slot) {
    check_room(memo_.size());
    memo_[slot] = top();
  }

  void get(uint64_t slot) {
    const auto found = memo_.find(slot);
    if (found == memo_.end()) damaged(fmt::format("nothing in the memo's slot {}", slot));
    push(found->second);
  }

  void check_protocol(uint64_t protocol) const {
    if (protocol <= 5) return;
    throw Error(
        fmt::format("pickle protocol {}, wanted at most 5. If the file "
                    "is not damaged, save it "
                    "with torch.save's default protocol",
                    protocol));
  }

  void check_frame(uint64_t size) const {
    if (size > bytes_.size() - at_) damaged(fmt::format("a frame of {} bytes: truncated", size));
  }

  bool object(char op) {
    switch (static_cast<uint8_t>(op)) {
      case 'c':
        line_global();
        return true;
      case 0x93:
        stack_global();
        return true;
      case 0x82:
        take(1), push({.kind = PickleKind::kOpaque});
        return true;  // extension codes
      case 0x83:
        take(2), push({.kind = PickleKind::kOpaque});
        return true;
      case 0x84:
        take(4), push({.kind = PickleKind::kOpaque});
        return true;
      case 'R':
      case 0x81:
        call_with_tuple();
        return true;
      case 0x92:
        pop(), call_with_tuple();
        return true;  // its keyword arguments
      case 'i':
        instance();
        return true;
      case 'o':
        call_marked();
        return true;
      case 'b':
        pop(), top();
        return true;  // attributes
      case 'Q':
        persistent(pop());
        return true;
      case 'P':
        refuse_protocol_0();
      case 0x97:
        push({.kind = PickleKind::kOpaque});
        return true;  // an out-of-band buffer
      case 0x98:
        top();
        return true;
      default:
        return false;
    }
  }

  PickleId line_text() { return add({.kind = PickleKind::kStr, .text = line()}); }

  void line_global() {
    const PickleId module = line_text(), name = line_text();
    push_global(module, name);
  }

  void push_global(PickleId module, PickleId name) {
    PickleValue global{.kind = PickleKind::kGlobal, .items = {module, name}};
    set_global(global, value(module).text, value(name).text);
    push(std::move(global));
  }

  void stack_global() {
    const PickleId name = pop(), module = pop();
    if (value(name).kind != PickleKind::kStr || value(module).kind != PickleKind::kStr) {
      damaged("a global without a name");
    }
    push_global(module, name);
  }

  // INST: module, name, and what lies above the mark; OBJ has its class there too.
  void instance() {
    const PickleId module = line_text(), name = line_text();
    std::vector<PickleId> arguments = pop_mark();
    push_global(module, name);
    call(pop(), arguments);
  }
  void call_marked() {
    std::vector<PickleId> arguments = pop_mark();
    if (arguments.empty()) damaged("an object without a class");
    const PickleId callee = arguments.front();
    arguments.erase(arguments.begin());
    call(callee, arguments);
  }
  void call_with_tuple() {
    const PickleId arguments = pop(), callee = pop();
    if (value(arguments).kind != PickleKind::kTuple) damaged("arguments that are no tuple");
    call(callee, value(arguments).items);
  }

  // Nothing is called: what a known function would have built is written down, and of any other
  // only the name is kept.
  void call(PickleId callee, const std::vector<PickleId>& arguments) {
    const auto built = value(callee).kind == PickleKind::kGlobal
                           ? build(value(callee).global, arguments)
                           : std::nullopt;
    if (built) return push(*built);
    PickleValue opaque{.kind = PickleKind::kOpaque};
    if (value(callee).kind == PickleKind::kGlobal) opaque.items = {callee};
    if (value(callee).kind == PickleKind::kOpaque) opaque.items = value(callee).items;
    push(std::move(opaque));
  }

  std::optional<PickleId> build(PickleGlobal global, const std::vector<PickleId>& arguments) {
    const auto first_is = [&](PickleKind kind) {
      return !arguments.empty() && value(arguments[0]).kind == kind;
    };
    switch (global) {
      case PickleGlobal::kOrderedDict:
        return build_dict(arguments);
      case PickleGlobal::kSize:
        return first_is(PickleKind::kTuple) ? std::optional(arguments[0]) : std::nullopt;
      case PickleGlobal::kParameter:
        return first_is(PickleKind::kTensor) ? std::optional(arguments[0]) : std::nullopt;
      case PickleGlobal::kRebuildFromType:
        return build_subclass(arguments);
      default:
        return build_tensor(global, arguments);
    }
  }

  // From nothing, or (Python 2) from a list of pairs.
  std::optional<PickleId> build_dict(const std::vector<PickleId>& arguments) {
    PickleValue dict{.kind = PickleKind::kDict};
    if (arguments.empty()) return add(std::move(dict));
    const PickleValue& pairs = value(arguments[0]);
    if (arguments.size() > 1 || pairs.kind != PickleKind::kList) return std::nullopt;
    copied_ += pairs.items.size();
    check_room(copied_);
    for (const PickleId id : pairs.items) {
      const PickleValue& pair = value(id);
      const bool sequence = pair.kind == PickleKind::kList || pair.kind == PickleKind::kTuple;
      if (!sequence || pair.items.size() != 2) return std::nullopt;
      dict.items.insert(dict.items.end(), pair.items.begin(), pair.items.end());
    }
    return add(std::move(dict));
  }

  // (function, class, arguments, attributes)
  std::optional<PickleId> build_subclass(const std::vector<PickleId>& arguments) {
    if (arguments.size() != 4) return std::nullopt;
    const PickleValue &function = value(arguments[0]), &inner = value(arguments[2]);
    if (function.kind != PickleKind::kGlobal || inner.kind != PickleKind::kTuple) {
      return std::nullopt;
    }
    return build_tensor(function.global, inner.items);
  }

  // (storage, offset, sizes, strides); in version 2 and 3 then requires_grad and hooks, in 3 a
  // dtype, and perhaps marks (conjugate, negative) that no weights have.
  std::optional<PickleId> build_tensor(PickleGlobal global,
                                       const std::vector<PickleId>& arguments) {
    size_t count = 0;
    if (global == PickleGlobal::kRebuildTensor) count = 4;
    if (global == PickleGlobal::kRebuildTensorV2) count = 6;
    if (global == PickleGlobal::kRebuildTensorV3) count = 7;
    if (count == 0 || arguments.size() < count) return std::nullopt;
    if (arguments.size() > count && !is_empty(value(arguments[count]))) return std::nullopt;
    PickleValue tensor{.kind = PickleKind::kTensor,
                       .items = {arguments.begin(), arguments.begin() + 4}};
    if (count == 7) tensor.items.push_back(arguments[6]);
    return add(std::move(tensor));
  }

  static bool is_empty(const PickleValue& value) {
    return value.kind == PickleKind::kNone ||
           (value.kind == PickleKind::kDict && value.items.empty());
  }

  // ("storage", class, key, location, count, view), or ("module", class, file, source).
  void persistent(PickleId id) {
    const PickleValue& tuple = value(id);
    const auto& items = tuple.items;
    const bool named = tuple.kind == PickleKind::kTuple && !items.empty();
    const std::string_view name = named ? value(items[0]).text : std::string_view();
    if (name == "module" && items.size() > 1) return push(items[1]);
    if (name != "storage" || items.size() < 5) {
      damaged("a persistent id that is neither a storage nor a module");
    }
    push_items(PickleKind::kStorage, {items.begin() + 1, items.end()});
  }

  [[noreturn]] void refuse_protocol_0() const {
    throw Error(
        "pickled with protocol 0, which cannot say where a tensor lies: torch "
        "itself cannot read "
        "such a file. Save it again with torch.save's default protocol");
  }

  std::span<const uint8_t> bytes_;
  Pickle& pickle_;
  size_t at_ = 0;
  size_t copied_ = 0;  // pairs of dicts
  PickleId none_ = 0;
  std::array<PickleId, 2> booleans_{};
  std::vector<PickleId> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, PickleId> memo_;
};

Pickle::Pickle(std::span<const uint8_t> bytes) { Unpickler(bytes, *this).run(); }

std::string Pickle::name_of(const PickleValue& value) const {
  constexpr std::array<const char*, 14> kNames = {"None",
                                                  "a bool",
                                                  "an int",
                                                  "an int",
                                                  "a float",
                                                  "a str",
                                                  "bytes",
                                                  "a list",
                                                  "a tuple",
                                                  "a dict",
                                                  "a function or class",
                                                  "a storage",
                                                  "a tensor",
                                                  "an object"};
  if (value.kind == PickleKind::kGlobal) {
    return shown(values_[value.items[0]].text) + "." + shown(values_[value.items[1]].text);
  }
  const bool called = value.kind == PickleKind::kOpaque && !value.items.empty();
  return called ? name_of(values_[value.items[0]]) : kNames[static_cast<size_t>(value.kind)];
}

}  // namespace umbra
