#include "converter/json_fields.h"

#include "octobert/error.h"

namespace octobert::converter {
namespace {

// What a message shows of a value: scalars themselves (shortened), containers by type.
std::string shown(const nlohmann::json& value) {
  if (value.is_object() || value.is_array()) return value.type_name();
  constexpr size_t kMaxShown = 60;
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kMaxShown) text = text.substr(0, kMaxShown) + "...";
  return text;
}

}  // namespace

bool JsonField::has(const std::string& key) const {
  const auto found = object().find(key);
  return found != value_->end() && !found->is_null();
}

JsonField JsonField::operator[](const std::string& key) const {
  const auto found = object().find(key);
  if (found == value_->end()) {
    throw Error(ErrorCode::kFormat, path_ + (path_.ends_with(": ") ? "'" : ": '") + key + "' is missing");
  }
  return {*found, path_ + (path_.ends_with(": ") ? "" : ".") + key};
}

JsonField JsonField::operator[](size_t index) const {
  if (index >= array().size()) expected("at least " + std::to_string(index + 1) + " elements");
  return {(*value_)[index], path_ + "[" + std::to_string(index) + "]"};
}

const std::string& JsonField::string() const {
  if (!value_->is_string()) expected("a string");
  return value_->get_ref<const std::string&>();
}

bool JsonField::boolean() const {
  if (!value_->is_boolean()) expected("true or false");
  return value_->get<bool>();
}

uint64_t JsonField::unsigned_integer(uint64_t max) const {
  const bool negative = value_->is_number_integer() && !value_->is_number_unsigned() && value_->get<int64_t>() < 0;
  if (!value_->is_number_integer() || negative || value_->get<uint64_t>() > max) {
    expected("an integer from 0 to " + std::to_string(max));
  }
  return value_->get<uint64_t>();
}

const nlohmann::json& JsonField::object() const {
  if (!value_->is_object()) expected("an object");
  return *value_;
}

const nlohmann::json& JsonField::array() const {
  if (!value_->is_array()) expected("an array");
  return *value_;
}

void JsonField::expected(const std::string& what) const {
  throw Error(ErrorCode::kFormat, path_ + ": expected " + what + ", found " + shown(*value_));
}

void JsonField::unsupported(const std::string& what) const {
  throw Error(ErrorCode::kUnsupported, path_ + ": " + what);
}

}  // namespace octobert::converter
