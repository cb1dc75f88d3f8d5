// Pieces of the report's page. What comes in as plain text is escaped here; `content` and `html` are markup.
#ifndef OCTOBERT_CONVERTER_REPORT_ELEMENTS_H_
#define OCTOBERT_CONVERTER_REPORT_ELEMENTS_H_

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "converter/report_text.h"

namespace octobert::converter {

std::string cell(std::string_view text);
std::string number_cell(std::string_view text);
std::string row_head(std::string_view text);
std::string breakable(std::string_view name);  // a dotted name that may be broken after '.' and '_'
std::string signed_text(std::string number);   // with a minus sign instead of a hyphen

// Headings of columns; those that begin with '#' are over numbers.
std::string table_head(const std::vector<std::string_view>& columns);

// kind: a class of the style sheet. Tables are as wide as they must be and scroll by themselves; the keyboard reaches
// them.
std::string table(std::string_view caption, const char* kind, const std::string& content);

std::string lead(std::string_view html);  // a section's first paragraph

std::string chip(std::string_view scheme);

double share_of(double value, double most);  // from 0 to 1; 0 if there is none

// A bar of that share.
std::string bar(double value, double most, const char* kind);

// The difference's text in green or red, by what is better.
std::string change(double difference, std::string_view text, bool larger_is_better);

// The entries of a list by layer and part (SiteName). Those without a layer are not in it.
struct Grid {
  std::vector<int> layers;                                   // ascending
  std::vector<std::string_view> parts;                       // as they first appear
  std::map<std::pair<int, std::string_view>, size_t> index;  // of (layer, part), in the list
};

// name_of(entry) is a view of the entry's name, which must outlive the grid.
template <typename List, typename NameOf>
Grid make_grid(const List& list, const NameOf& name_of) {
  Grid grid;
  for (size_t i = 0; i < list.size(); ++i) {
    const SiteName name = parse_site(name_of(list[i]));
    if (!name.layer) continue;
    grid.index.emplace(std::pair(*name.layer, name.part), i);
    grid.layers.push_back(*name.layer);
    if (std::find(grid.parts.begin(), grid.parts.end(), name.part) == grid.parts.end()) grid.parts.push_back(name.part);
  }
  std::sort(grid.layers.begin(), grid.layers.end());
  grid.layers.erase(std::unique(grid.layers.begin(), grid.layers.end()), grid.layers.end());
  return grid;
}

// cell_of(index) gives the <td> of an entry.
template <typename Cell>
std::string grid_table(const Grid& grid, std::string_view caption, const char* kind, const Cell& cell_of) {
  std::vector<std::string_view> head = {"layer"};
  head.insert(head.end(), grid.parts.begin(), grid.parts.end());
  std::string rows;
  for (const int layer : grid.layers) {
    rows += "<tr>" + row_head(std::to_string(layer));
    for (const std::string_view part : grid.parts) {
      const auto found = grid.index.find({layer, part});
      rows += found == grid.index.end() ? "<td class=\"none\">–</td>" : cell_of(found->second);
    }
    rows += "</tr>";
  }
  return table(caption, kind, table_head(head) + "<tbody>" + rows + "</tbody>");
}

}  // namespace octobert::converter

#endif  // OCTOBERT_CONVERTER_REPORT_ELEMENTS_H_
