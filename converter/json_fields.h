// Typed access to JSON fields; errors name the file, the field's path, what was expected and what was found.
#ifndef OCTOBERT_CONVERTER_JSON_FIELDS_H_
#define OCTOBERT_CONVERTER_JSON_FIELDS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace octobert::converter {

// A JSON value with the way that led to it.
class JsonField {
 public:
  JsonField(const nlohmann::json& value, std::string path) : value_(&value), path_(std::move(path)) {}

  const nlohmann::json& value() const { return *value_; }
  const std::string& path() const { return path_; }
  bool is_null() const { return value_->is_null(); }

  bool has(const std::string& key) const;              // an object's key, and not null
  JsonField operator[](const std::string& key) const;  // an object's key that must be there
  JsonField operator[](size_t index) const;            // an array's element that must be there

  const std::string& string() const;
  bool boolean() const;
  uint64_t unsigned_integer(uint64_t max) const;
  // The value itself, checked to be of that shape.
  const nlohmann::json& object() const;
  const nlohmann::json& array() const;

  // Throws Error(kFormat): "path: expected ..., found ...".
  [[noreturn]] void expected(const std::string& what) const;
  // Throws Error(kUnsupported): "path: ...".
  [[noreturn]] void unsupported(const std::string& what) const;

 private:
  const nlohmann::json* value_;
  std::string path_;
};

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_JSON_FIELDS_H_
