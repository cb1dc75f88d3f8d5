#include "converter/tensorboard.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <chrono>
#include <cmath>

#include "converter/report_text.h"

namespace octobert::converter {
namespace {

constexpr std::array<uint32_t, 256> crc_table() {
  constexpr uint32_t kPolynomial = 0x82F63B78;  // Castagnoli's 0x1EDC6F41, bits reversed
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? kPolynomial : 0);
    table[i] = crc;
  }
  return table;
}

// ---- protobuf's wire format: fields of (number << 3 | wire type), then the value ----
// As Google's writers do it: in the order of their numbers, a zero left out unless it is one of a "oneof" (fixed32).
class Message {
 public:
  void varint(int field, uint64_t value) {
    if (value == 0) return;
    raw_varint(tag(field, 0));
    raw_varint(value);
  }
  void fixed64(int field, double value) {
    if (value == 0) return;
    raw_varint(tag(field, 1));
    raw_fixed(std::bit_cast<uint64_t>(value), 8);
  }
  void fixed32(int field, float value) {
    raw_varint(tag(field, 5));
    raw_fixed(std::bit_cast<uint32_t>(value), 4);
  }
  void bytes(int field, std::string_view value) {
    raw_varint(tag(field, 2));
    raw_varint(value.size());
    bytes_ += value;
  }
  void message(int field, const Message& value) { bytes(field, value.bytes_); }
  void doubles(int field, const std::vector<double>& values) {
    Message packed;
    for (const double value : values) packed.raw_fixed(std::bit_cast<uint64_t>(value), 8);
    message(field, packed);
  }
  void raw(std::string_view value) { bytes_ += value; }
  // Little-endian.
  void raw_fixed(uint64_t value, int count) {
    for (int i = 0; i < count; ++i) bytes_ += static_cast<char>(value >> (8 * i) & 0xFF);
  }
  const std::string& str() const { return bytes_; }

 private:
  static uint64_t tag(int field, uint64_t wire_type) { return static_cast<uint64_t>(field) << 3 | wire_type; }
  void raw_varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>((value & 0x7F) | 0x80);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

// The sums of the values are those of the bins' middles: the values themselves are gone.
Message histogram_message(const ReportHistogram& histogram) {
  const double width = (histogram.high - histogram.low) / static_cast<double>(histogram.counts.size());
  std::vector<double> limits, counts;
  double total = 0, sum = 0, squares = 0;
  for (size_t i = 0; i < histogram.counts.size(); ++i) {
    const double count = static_cast<double>(histogram.counts[i]);
    const double middle = histogram.low + (static_cast<double>(i) + 0.5) * width;
    limits.push_back(i + 1 == histogram.counts.size() ? histogram.high
                                                      : histogram.low + static_cast<double>(i + 1) * width);
    counts.push_back(count);
    total += count;
    sum += count * middle;
    squares += count * middle * middle;
  }
  Message message;
  message.fixed64(1, histogram.low);
  message.fixed64(2, histogram.high);
  message.fixed64(3, total);
  message.fixed64(4, sum);
  message.fixed64(5, squares);
  message.doubles(6, limits);
  message.doubles(7, counts);
  return message;
}

// What plugin "text" takes: a tensor of one string, Markdown.
Message text_tensor(const std::string& markdown) {
  constexpr uint64_t kString = 7;  // DT_STRING
  Message dimension, shape, tensor;
  dimension.varint(1, 1);
  shape.message(2, dimension);
  tensor.varint(1, kString);
  tensor.message(2, shape);
  tensor.bytes(8, markdown);
  return tensor;
}

class EventFile {
 public:
  explicit EventFile(double wall_time) : wall_time_(wall_time) {
    Message event = new_event(0);
    event.bytes(3, "brain.Event:2");
    append(event);
  }

  void scalar(const std::string& tag, int64_t step, double number) {
    Message value = new_value(tag);
    value.fixed32(2, static_cast<float>(number));
    append_summary(step, value);
  }
  void histogram(const std::string& tag, int64_t step, const ReportHistogram& histogram) {
    Message value = new_value(tag);
    value.message(5, histogram_message(histogram));
    append_summary(step, value);
  }
  void text(const std::string& tag, const std::string& markdown) {
    Message plugin, metadata, value = new_value(tag);
    plugin.bytes(1, "text");
    metadata.message(1, plugin);
    value.message(8, text_tensor(markdown));
    value.message(9, metadata);
    append_summary(0, value);
  }
  const std::string& str() const { return frames_.str(); }

 private:
  static Message new_value(const std::string& tag) {
    Message value;
    value.bytes(1, visible(tag));  // readers refuse a string that is not UTF-8
    return value;
  }
  Message new_event(int64_t step) const {
    Message event;
    event.fixed64(1, wall_time_);
    event.varint(2, static_cast<uint64_t>(step));
    return event;
  }
  void append_summary(int64_t step, const Message& value) {
    Message summary, event = new_event(step);
    summary.message(1, value);
    event.message(5, summary);
    append(event);
  }
  // TFRecord: the length and its CRC, the bytes and theirs.
  void append(const Message& event) {
    Message length;
    length.raw_fixed(event.str().size(), 8);
    for (const std::string* part : {&length.str(), &event.str()}) {
      frames_.raw(*part);
      frames_.raw_fixed(masked(crc32c(*part)), 4);
    }
  }
  // A CRC over bytes that contain CRCs is weak: the format rotates each by 15 bits and adds a constant.
  static uint32_t masked(uint32_t crc) { return std::rotr(crc, 15) + 0xA282EAD8; }

  double wall_time_;
  Message frames_;
};

// "layer.3.ffn2" of group "sqnr_db": tag "sqnr_db/ffn2", step 3. What is in no layer has step 0.
struct Place {
  std::string tag;
  int64_t step;
};
Place place(const char* group, const std::string& name) {
  const SiteName site = parse_site(name);
  return {fmt::format("{}/{}", group, site.part), site.layer.value_or(0)};
}

void add_scalars(const ReportData& data, EventFile& file) {
  const auto add = [&file](const char* group, const std::string& name, std::optional<double> value) {
    const auto [tag, step] = place(group, name);
    if (value) file.scalar(tag, step, *value);
  };
  if (data.source_bytes) file.scalar("size/source_bytes", 0, static_cast<double>(*data.source_bytes));
  if (data.model_bytes) file.scalar("size/model_bytes", 0, static_cast<double>(*data.model_bytes));
  for (const ReportMetric& metric : data.metrics) {
    const std::string tag =
        fmt::format("metrics/{}{}{}", metric.name, metric.source.empty() ? "" : " on ", metric.source);
    if (metric.reference) file.scalar(tag + "/float", 0, *metric.reference);
    if (metric.model) file.scalar(tag + "/model", 0, *metric.model);
  }
  for (const auto& [name, decibel] : data.sqnr) add("sqnr_db", name, decibel);
  for (const auto& [source, shares] : data.clipped) {
    for (const auto& [name, share] : shares) add("clipped", fmt::format("{} on {}", name, source), share);
  }
  for (const ReportSensitivity& row : data.sensitivity) {
    add("sensitivity_alone", row.product, row.alone);
    add("sensitivity_others", row.product, row.others);
  }
  for (size_t i = 0; i < data.steps.size(); ++i) {
    const auto step = static_cast<int64_t>(i);
    if (data.steps[i].seconds) file.scalar("rollback/seconds", step, *data.steps[i].seconds);
    if (data.steps[i].value) file.scalar("rollback/value", step, *data.steps[i].value);
  }
}

using Row = std::vector<std::string>;

void append_row(std::string& out, const Row& cells) {
  out += '|';
  for (const std::string& cell : cells) out += ' ' + markdown_escape(cell) + " |";
  out += '\n';
}

void add_table(EventFile& file, const char* tag, const Row& head, const std::vector<Row>& rows) {
  if (rows.empty()) return;
  std::string markdown;
  append_row(markdown, head);
  for (size_t i = 0; i < head.size(); ++i) markdown += "|---";
  markdown += "|\n";
  for (const Row& row : rows) append_row(markdown, row);
  file.text(tag, markdown);
}

void add_texts(const ReportData& data, EventFile& file) {
  constexpr size_t kContext = 120, kMaxExamples = 200;  // bytes; the page has them all
  std::vector<Row> model;
  for (const auto& [key, value] : {std::pair("title", &data.title), {"model", &data.model}, {"scheme", &data.scheme}}) {
    if (!value->empty()) model.push_back({key, *value});
  }
  for (const auto& [key, value] : data.provenance) model.push_back({key, value});
  for (const std::string& warning : data.warnings) model.push_back({"warning", warning});
  add_table(file, "report/model", {"what", "value"}, model);

  std::vector<Row> metrics, products, steps, examples;
  for (const ReportMetric& m : data.metrics) {
    metrics.push_back({m.name, m.source, metric_text(m.reference, m.unit), metric_text(m.model, m.unit), m.note});
  }
  add_table(file, "report/metrics", {"measure", "on", "float model", "this model", ""}, metrics);
  for (const auto& [product, scheme] : data.products) products.push_back({product, scheme});
  add_table(file, "report/products", {"product", "scheme"}, products);
  for (const ReportStep& step : data.steps) {
    if (!step.product.empty()) steps.push_back({step.product, step.from, step.to, step.reason});
  }
  add_table(file, "report/rolled_back", {"product", "from", "to", "for"}, steps);
  for (const ReportExample& example : data.examples) {
    if (examples.size() == kMaxExamples) break;
    const Excerpt part = excerpt(example, kContext);
    examples.push_back({std::string(part.word), example.reference_label, example.model_label, example.gold_label,
                        fmt::format("{}{}{}", part.before, part.word, part.after)});
  }
  add_table(file, "report/changed", {"word", "float model", "this model", "in the text", "text"}, examples);
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> kTable = crc_table();
  uint32_t crc = ~uint32_t{0};
  for (const char byte : bytes) crc = (crc >> 8) ^ kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFF];
  return ~crc;
}

std::string event_file(const ReportData& data, double wall_time) {
  EventFile file(wall_time);
  add_texts(data, file);
  add_scalars(data, file);
  for (const ReportSite& site : data.sites) {
    if (site.histogram.counts.empty()) continue;
    const auto [tag, step] = place(site.kind == ReportSite::Kind::kWeights ? "weights" : "activations", site.name);
    file.histogram(tag, step, site.histogram);
  }
  return file.str();
}

void write_tensorboard(const std::filesystem::path& folder, const ReportData& data) {
  const std::chrono::duration<double> now = std::chrono::system_clock::now().time_since_epoch();
  write_into_folder(folder, kTensorboardFile, event_file(data, now.count()));
}

}  // namespace octobert::converter
