#include "converter/calibration_texts.h"

#include <iterator>

namespace octobert::converter {
namespace {

constexpr const char* kTexts[] = {
    // English: news
    "The mayor of Bristol, Ingrid Halloran, opened the new tram line on Saturday morning.",
    "Shares in Northgate Mining fell 7 percent after the company said that its mine in Peru would stay closed.",
    "SYDNEY, March 4 - Two fishing boats collided off the coast of Tasmania; nobody was hurt.",
    "Kestrel Rovers beat Union Halle 3-1 away from home, with two goals by the Senegalese forward Moussa Diatta.",
    "The court in The Hague will hear the case of Arkadia Shipping against the Republic of Malta in May.",
    // NOLINTNEXTLINE(bugprone-suspicious-missing-comma): texts longer than a line
    "Professor Lindiwe Khumalo of the University of Pretoria has spent twenty years with the weaver birds of the "
    "Kalahari. Her book, \"Knots\", appears this week with Harrow Press.",
    "Japan's central bank left its rate at 0.1 percent, as 41 of 43 economists had expected.",
    "Heavy rain closed the road between Kathmandu and Pokhara for the third day; the army sent helicopters with "
    "food.",
    "The European Commission fined the four makers of brake pads a total of 212 million euros on Thursday.",
    "Rosa Ferreira, who ran the lighthouse on Culatra island for half a century, has died in Faro at the age of 91.",
    "A train carrying 60 tonnes of grain left the rails near Saskatoon early on Monday, Canadian National said.",
    "Election officials in Nairobi said that counting would take until Friday. Turnout was 68.4 percent.",
    "BASKETBALL - RESULTS OF THE SECOND ROUND.",
    "1. Anna Lind (Sweden) 9:58.31 2. Chipo Moyo (Zimbabwe) 9:59.02 3. Keiko Arai (Japan) 10:01.77",
    // English: letters, speech, instructions
    "Dear Mr. Okafor, thank you for your letter of 12 June. We have sent the replacement part to your office in "
    "Lagos; it should arrive within a week. Please return the broken one to our workshop at 14 Mill Lane, Leeds.",
    "ok see you at 8 then, bring the blue bag pls",
    "Yes.",
    "Why would anybody want to do that?",
    "Hold the lever down, turn the dial to position 3, and wait until the green light comes on.",
    "I never said she stole my money. I said that she borrowed it, twice, and that she had forgotten.",
    "can someone tell @marlow_t that the meeting moved to room 4B??? nobody reads the calendar",
    "lol no way!!! #mondaymood",
    "My grandmother was born in Trieste when it still belonged to Austria-Hungary, grew up in Italy, married in "
    "Yugoslavia and died in Slovenia, and she lived in the same street all her life.",
    "Two cups of flour, a pinch of salt, 150 g of butter; knead, rest for an hour, roll out thinly, bake at 190 C.",
    "The patient, a man of 54 with type 2 diabetes, was given 500 mg of metformin twice a day.",
    "THIS AGREEMENT is made on the first day of October between Harbour Leasing Ltd (\"the Owner\") and the person "
    "named in Schedule A (\"the Hirer\"), who agree as follows: the Hirer shall keep the vessel in good repair, "
    "shall "
    "not take it beyond the waters named in Schedule B without the written consent of the Owner, and shall return "
    "it, "
    "with its equipment complete, to the Owner's yard at Falmouth on the last day of the term.",
    "Water boils at a lower temperature on a mountain because the air presses on it less.",
    "Gate B12 - Flight QX 417 to Reykjavik - delayed - new time 22:35",
    "Once upon a time a miller had three sons, a mill, a donkey and a cat.",
    "He looked at the map again, folded it the wrong way, and walked off towards the river without a word.",
    // English: an article of a few hundred tokens
    "The Veldhoven Observatory was never meant to last. When the engineer Pieter Maas bought the old water tower in "
    "1926, he wanted a dry place for his instruments, a view over the heath, and, as he wrote to his sister in "
    "Batavia, \"an address where nobody rings\". The first telescope came by barge from Jena, in eleven crates, and "
    "the last crate fell into the canal at Den Bosch. Maas had it raised by two divers from the Royal Navy, dried "
    "the "
    "lenses in the baker's oven, and found that only one was cracked. For the next nineteen years he photographed "
    "the "
    "same forty stars on every clear night. Nobody paid him for it. In 1944 a shell took the roof away, and the "
    "plates "
    "were carried to the cellar of the brewery, where they stood behind the barrels until Wilhelmina Aerts, a "
    "student "
    "from Leuven, asked for them in 1961. She measured all 4,316 plates by hand. One of the forty stars, it turned "
    "out, "
    "had grown fainter by a tenth every year, and had then, in the spring of 1939, come back within a week. Stars of "
    "this kind have been named after the tower ever since, and there are now 212 of them, but the first is still the "
    "best observed, because of a man who did not want to be disturbed. The tower itself was pulled down in 1988. On "
    "its place stands a car park that belongs to a furniture shop, and beside the ticket machine there is a brass "
    "plate "
    "with his name, spelled wrongly.",
    // English: tables, addresses, code, noise
    "Item | Qty | Price\nBolts M6 | 200 | 14.00\nWashers | 500 | 9.50\nTotal | | 23.50",
    "Order #88213-C, shipped 2019-11-30 via Nordpost, tracking 7F33 0091 22; contact: orders@example.com, +45 33 12 "
    "00 00",
    "for (int i = 0; i < n; ++i) sum += a[i] * b[i];  // dot product",
    "ERROR 2031-02-11T08:15:42Z db.pool: timeout after 30000 ms (host=10.0.4.17, attempts=5)",
    "http://www.example.org/a/b.html?q=blue+whale&lang=en#top",
    "aaaaaaa ...... !!!!!! ????? ----- 12345678901234567890",
    "$4.99 / 12% / 3,000,000 / 1/2 / 10^-6 / x^2 + y^2 = z^2",
    "teh qiuck brwon fox jmups ovre teh lzay dgo",
    // Other languages of the Latin script
    "Die Deutsche Bahn sperrt die Strecke zwischen Kassel und Erfurt bis zum 14. August wegen Bauarbeiten.",
    "Sehr geehrte Frau Brandt, vielen Dank für Ihre Nachricht. Leider ist Herr Özdemir bis Donnerstag nicht im Haus.",
    "Der Vorstand der Hansa Werft AG in Rostock hat Jürgen Petersen zum neuen Leiter des Schiffbaus ernannt.",
    "Le ministre de l'Agriculture, Étienne Vasseur, s'est rendu mardi dans les vignobles du Jura.",
    "Mon oncle habite à Montréal depuis 1974, mais il n'a jamais appris à patiner.",
    "La société Lumière d'Ouest a annoncé la fermeture de son usine de Brest à la fin de l'année.",
    "El Ayuntamiento de Zaragoza aprobó ayer la compra de cuarenta autobuses eléctricos a la empresa Navarra Motor.",
    "¿Dónde está la estación? Mi tren a Sevilla sale dentro de diez minutos.",
    "A escritora Beatriz Nogueira recebeu em Lisboa o prémio de romance da Fundação Tavares.",
    "Il direttore del museo di Ravenna, Paolo Santini, ha presentato ieri la mostra sui mosaici bizantini.",
    "Morgen gaat de veerboot naar Texel pas om elf uur, zei kapitein Joost de Wit.",
    "Nowy most na Wiśle w Toruniu zostanie otwarty jesienią, zapowiedziała prezydent miasta Agnieszka Nowak.",
    "Ministeren åpnet tunnelen mellom Stavanger og Ryfylke klokken tolv.",
    "Helsingin kaupunki rakentaa kolme uutta koulua Kalasatamaan.",
    "İstanbul'da vapur seferleri yoğun sis nedeniyle iptal edildi.",
    "Gempa berkekuatan 5,9 mengguncang Pulau Lombok pada Rabu malam, kata BMKG.",
    "Thủ tướng sẽ thăm Đà Nẵng vào tuần tới.",
    "A magyar válogatott Szegeden játszik Románia ellen.",
    "Serikali ya Kenya imejenga daraja jipya mjini Mombasa.",
    // Other scripts
    "Завод «Полярная звезда» в Мурманске нанял ещё двести рабочих, сообщила директор Ольга Синицына.",
    "Поезд Москва — Казань прибывает на второй путь.",
    "Η Άννα Παπαδοπούλου γεννήθηκε στη Θεσσαλονίκη και σπούδασε στην Πάτρα.",
    "أعلنت شركة الخليج للطيران عن رحلات جديدة بين البحرين والدار البيضاء.",
    "ראש העיר חיפה פתחה את הגשר החדש ביום ראשון.",
    "मुंबई में भारी बारिश के कारण रेल सेवाएँ बंद हैं।",
    "বাংলাদেশ দল ঢাকায় পৌঁছেছে।",
    "上海市政府宣布将在浦东新建两所医院。",
    "李明去年从武汉搬到了新加坡，现在在一家银行工作。",
    "東京メトロは来月、新しい車両を銀座線に導入すると発表した。",
    "김민수 씨는 부산에서 태어나 서울대학교에서 물리학을 공부했다.",
    "กรุงเทพมหานครเปิดสวนสาธารณะแห่งใหม่ริมแม่น้ำเจ้าพระยา",
    "საქართველოს დედაქალაქია თბილისი.",
    // Mixed
    "Der CEO von Blue Harbor Inc., Samantha Reyes, sagte auf der Messe in 深圳: \"Wir kommen wieder.\" 🚢",
    "Ticket: Αθήνα → София, 2 adults, 89,00 €, seat 14A/14B, valid 01.07.–31.08.",
    "RT @cafe_luna: новое меню! ¡nuevo menú! new menu! 🥐☕ https://example.com/menu",
};

}  // namespace

std::vector<std::string> builtin_calibration_texts() { return {std::begin(kTexts), std::end(kTexts)}; }

}  // namespace octobert::converter
