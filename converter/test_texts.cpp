#include "converter/test_texts.h"

namespace octobert::converter {
namespace {

constexpr const char* kLongText =
    "In the spring of 1987 a young engineer named Halima Suleiman left the Ministry of Transport in Accra and joined "
    "a small firm in Utrecht that built control systems for canal locks. Within ten years, Waterpoort Systems had "
    "offices in Antwerp, Montreal and Osaka; its software opened the gates of the Danube, and the European Union "
    "asked Suleiman to write its guidelines for inland shipping.";

}  // namespace

std::vector<std::string> builtin_test_texts() {
  return {
      "Yes",
      "Marta Oyelaran flew from Lisbon to Nairobi on Tuesday.",
      "The ferry company Nordwind AB bought two ships from the yard in Gdansk, said Piotr Zielinski, its new director.",
      kLongText,
      "@lena_k omg the new single by Paper Lanterns is out!!! #nowplaying 🎶 http://example.com/x?id=42",
      "Frau Dr. Anneliese Müller-Thurgau wohnt seit 2009 in Köln.",
      "Le musée d'Orsay a prêté trois toiles à la galerie de Genève.",
      "Анна живёт в Казани.",
      "王芳在北京工作。",
      "سافر يوسف إلى القاهرة.",
      "Invoice no. 4471-B, total 1.250,00 EUR, due 03/11; contact: j.doe@example.org (tel. +31 20 555 0199).",
  };
}

}  // namespace octobert::converter
